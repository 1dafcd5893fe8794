#!/bin/sh
# The guest's start: devices, the modules in the order in which they were packed, then the heartbeat as process 1.
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
for module in /modules/*; do insmod "$module"; done
stty -opost 2>/dev/null
exec /heartbeat
