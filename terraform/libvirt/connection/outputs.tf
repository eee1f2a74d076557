output "uri" {
  description = "The libvirt connection, once there is something to connect to."
  value       = var.uri

  precondition {
    condition     = local.listens
    error_message = "uri is \"${var.uri}\", but no libvirt daemon listens on ${local.socket} of this machine. Start it: systemctl start libvirtd, or, where systemd does not run the machine: tools/libvirtd start. Not installed: make up TARGET=libvirt installs it on Debian."
  }
}

output "local" {
  description = "Whether the virtual machines run on this machine."
  value       = local.here
}
