#!/bin/sh
# A libvirt host in a container: libvirtd on TCP inside the compose network, without authentication: for a look, not for use.
set -eu

# Its own for as long as the container lives: two hosts of one UUID refuse to migrate to each other.
[ -s /etc/libvirt/host-uuid ] || cat /proc/sys/kernel/random/uuid > /etc/libvirt/host-uuid
cat > /etc/libvirt/libvirtd.conf <<CONF
listen_tls = 0
listen_tcp = 1
auth_tcp = "none"
host_uuid = "$(cat /etc/libvirt/host-uuid)"
CONF
cat > /etc/libvirt/qemu.conf <<CONF
user = "root"
group = "root"
security_driver = "none"
stdio_handler = "file"
cgroup_controllers = [ ]
namespaces = [ ]
remember_owner = 0
CONF

# The sample guest's disk, in the volume that both hosts share; renamed, so that nobody sees half of it.
if [ ! -e /var/lib/guests/testvm.img ]; then
  cp /usr/share/testvm.img "/var/lib/guests/.testvm.img.$(hostname)"
  mv "/var/lib/guests/.testvm.img.$(hostname)" /var/lib/guests/testvm.img
fi
exec libvirtd --listen
