# The way to libvirt. The provider waits for it, so a daemon that does not run is named before the provider fails on it.
terraform {
  required_version = ">= 1.6"
}

locals {
  socket = try(regex("[?&]socket=([^&]+)", var.uri)[0], "/var/run/libvirt/libvirt-sock")
  here   = can(regex("^qemu(\\+unix)?:///", var.uri))

  # fileexists fails on what is there and no plain file, as a socket is.
  listens = local.here ? try(fileexists(local.socket), true) : true
}
