#!/bin/sh
# A libvirt host in a container: libvirtd listens with TLS alone, and takes whoever shows a certificate of /pki's authority.
set -eu

install -d -m 0755 /etc/pki/CA /etc/pki/libvirt /etc/pki/qemu
install -d -m 0700 /etc/pki/libvirt/private
install -m 0644 /pki/ca.pem /etc/pki/CA/cacert.pem
install -m 0644 /pki/ca.pem /etc/pki/qemu/ca-cert.pem
# It serves with the same certificate with which it calls the other host.
for role in server client; do
  install -m 0644 /pki/host.pem "/etc/pki/libvirt/${role}cert.pem"
  install -m 0600 /pki/host-key.pem "/etc/pki/libvirt/private/${role}key.pem"
  install -m 0644 /pki/host.pem "/etc/pki/qemu/${role}-cert.pem"
  install -m 0600 /pki/host-key.pem "/etc/pki/qemu/${role}-key.pem"
done

# Its own for as long as the container lives: two hosts of one UUID refuse to migrate to each other.
[ -s /etc/libvirt/host-uuid ] || cat /proc/sys/kernel/random/uuid > /etc/libvirt/host-uuid
cat > /etc/libvirt/libvirtd.conf <<CONF
listen_tls = 1
listen_tcp = 0
tls_allowed_dn_list = [ "CN=drover", "CN=host0", "CN=host1" ]
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
migrate_tls_x509_cert_dir = "/etc/pki/qemu"
migrate_tls_x509_verify = 1
migrate_tls_force = 1
CONF

# The sample guest's disk, in the volume that both hosts share; renamed, so that nobody sees half of it.
if [ ! -e /var/lib/guests/testvm.img ]; then
  cp /usr/share/testvm.img "/var/lib/guests/.testvm.img.$(hostname)"
  mv "/var/lib/guests/.testvm.img.$(hostname)" /var/lib/guests/testvm.img
fi
exec libvirtd --listen
