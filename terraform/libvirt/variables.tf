# identity

variable "name" {
  type        = string
  description = "Name of the environment: its folder in inventories/ and its hosts are called by it. Any other name than `libvirt` needs a workspace of the same name: TF_WORKSPACE=<name>."
  default     = "libvirt"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,19}$", var.name))
    error_message = "name \"${var.name}\" must start with a letter and have at most 20 of a-z, 0-9 and '-': it becomes part of host names."
  }
}

variable "target" {
  type        = string
  description = "The target that the environment is made by. Refused where it is not this one: the input of another environment was given."
  default     = null
}

variable "delete_data" {
  type        = string
  description = "Keys of hosts whose data this run may delete, or the environment's name for all data; separated by commas. Given as TF_VAR_delete_data, where what deletes looks for it too."
  default     = ""
}

# instances

variable "hosts" {
  type = map(object({
    groups    = set(string)
    cpus      = optional(number, 2)
    memory_mb = optional(number, 4096)
    disk_gb   = optional(number, 20)
    number    = optional(number)
    id        = optional(number)
    rack      = optional(string)
  }))
  description = "Hosts by key (the host is called <name>-<key>): the groups of site.yml that it belongs to; its cpus (one where it is emulated: more are not stable there) and memory in MiB; its system disk in GiB, which takes up what is written to it; and, where two keys meet on one address, its number in the subnet (10 to 249); its id in ZooKeeper and Kafka (1 to 255), where it shall not be the number at the end of the key; and the rack, which Kafka spreads replicas over. What is wrong with it is refused by modules/topology."
}

variable "replication_factor" {
  type        = number
  description = "Replicas of each partition in Kafka, no more than brokers. Null: as many as brokers, up to three."
  default     = null
}

variable "arch" {
  type        = string
  description = "Architecture of the hosts: x86_64 or arm64. One that is not the machine's own is emulated, some twenty times slower."
  default     = "x86_64"

  validation {
    condition     = contains(["x86_64", "arm64"], var.arch)
    error_message = "arch \"${var.arch}\" must be x86_64 or arm64."
  }
}

variable "accelerator" {
  type        = string
  description = "How processors are had: kvm, emulation, or auto: kvm where a kernel boots by it, found by trying once, else emulation."
  default     = "auto"

  validation {
    condition     = contains(["auto", "kvm", "emulation"], var.accelerator)
    error_message = "accelerator \"${var.accelerator}\" must be auto, kvm or emulation."
  }
}

# image

variable "image" {
  type        = string
  description = "Path or http(s) URL of a Debian 12 or 13 cloud image in qcow2 format, with its own boot loader and cloud-init. Null: one made here by mmdebstrap. Pinned once hosts are made of it: see docs/libvirt.md for taking another."
  default     = null

  validation {
    condition     = var.image == null ? true : can(regex("^https?://.", var.image)) || try(fileexists(pathexpand(var.image)), false)
    error_message = "image \"${coalesce(var.image, "null")}\" is no file here, and no http:// or https:// URL. Give the path or the URL of a Debian cloud image in qcow2 format."
  }
}

variable "debian_release" {
  type        = string
  description = "Code name of the hosts' Debian, where the image is made here."
  default     = "bookworm"

  validation {
    condition     = contains(["bookworm", "trixie"], var.debian_release)
    error_message = "debian_release \"${var.debian_release}\" must be bookworm (12) or trixie (13)."
  }
}

variable "debian_mirror" {
  type        = string
  description = "Address of a Debian mirror for the image that is made here and its hosts. Empty: what mmdebstrap takes by itself."
  default     = ""
}

# libvirt

variable "uri" {
  type        = string
  description = "The libvirt connection: qemu:///system, or a remote one such as qemu+ssh://user@machine/system."
  default     = "qemu:///system"

  validation {
    condition     = can(regex("^qemu(\\+[a-z]+)?://[^/]*/system([?].*)?$", var.uri))
    error_message = "uri \"${var.uri}\" must be a system connection of the QEMU driver, such as qemu:///system or qemu+ssh://user@machine/system: the hosts' network needs it."
  }
}

# network

variable "subnet" {
  type        = string
  description = "The hosts' private subnet, a /24 in CIDR notation. Null: one of 10.192.0.0/10, drawn with the environment's id."
  default     = null

  validation {
    condition     = var.subnet == null ? true : can(cidrhost(var.subnet, 250)) && endswith(var.subnet, "/24")
    error_message = "subnet \"${coalesce(var.subnet, "null")}\" must be a /24 in CIDR notation, such as 10.200.1.0/24."
  }
}

# storage

variable "pool" {
  type        = string
  description = "Name of a libvirt storage pool of type dir that is there already, for the hosts' disks. Null: one of their own, in state_dir."
  default     = null

  validation {
    condition     = var.pool == null ? true : can(regex("^[A-Za-z0-9._-]+$", var.pool))
    error_message = "pool \"${coalesce(var.pool, "null")}\" must be the name of a storage pool, as `virsh pool-list` shows it."
  }
}

variable "data_disk_gb" {
  type        = number
  description = "Size in GiB of each data disk: one for ZooKeeper and one for Kafka on their hosts. It takes up what is written to it."
  default     = 20

  validation {
    condition     = var.data_disk_gb >= 1 && floor(var.data_disk_gb) == var.data_disk_gb
    error_message = "data_disk_gb ${var.data_disk_gb} must be a whole number of at least 1 GiB."
  }
}

variable "state_dir" {
  type        = string
  description = "Folder for the hosts' storage pool, on the machine where libvirt runs."
  default     = "/var/lib/imdb-pipeline"

  validation {
    condition     = can(regex("^/[A-Za-z0-9._/-]*$", var.state_dir))
    error_message = "state_dir \"${var.state_dir}\" must be an absolute path of letters, digits, '.', '_', '-' and '/'."
  }
}

variable "cache_dir" {
  type        = string
  description = "Folder on this machine for images, kept over `terraform destroy` and shared by all checkouts."
  default     = "~/.cache/imdb-pipeline"
}
