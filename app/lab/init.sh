#!/bin/sh
# The guest's start: devices, the modules in the order in which they were packed, then the heartbeat as process 1.
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
for module in /modules/*; do insmod "$module"; done
# The kernel hands on what it does not know of its command line: address=10.0.0.9/24 is the guest's on its first interface.
if [ -n "$address" ]; then ip address add "$address" dev eth0 && ip link set eth0 up; fi
stty -opost 2>/dev/null
exec /heartbeat
