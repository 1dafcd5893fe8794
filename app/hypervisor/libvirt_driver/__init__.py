"""
The libvirt driver. Nothing else imports libvirt: its threads, event loop, numbers and error codes stop here. `driver` is its
door; below it, everything runs in the driver's threads and speaks of one connection.
"""
