variable "uri" {
  type        = string
  description = "The libvirt connection, such as qemu:///system."
}
