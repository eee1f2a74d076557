# identity

variable "name" {
  type        = string
  description = "Name of the environment: its folder in inventories/ and its hosts are called by it. Any other name than `local` needs a workspace of the same name: TF_WORKSPACE=<name>."
  default     = "local"

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

variable "id" {
  type        = string
  description = "The id of an environment whose Terraform state was lost, at its first apply since: its disks and tables are taken up again. Null: one is drawn."
  default     = null

  validation {
    condition     = var.id == null ? true : can(regex("^[0-9a-f]{8}$", var.id))
    error_message = "id \"${coalesce(var.id, "null")}\" must be eight hex digits, as the folders in state_dir are called."
  }
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
  description = "Hosts by key (the host is called <name>-<key>): the groups of site.yml that it belongs to; its cpus and memory in MiB, which the roles size services by; its disk in GiB (local hosts share the machine's disk); and, where two keys meet on one address, its number in the subnet (10 to 249); its id in ZooKeeper and Kafka (1 to 255), where it shall not be the number at the end of the key; and the rack, which Kafka spreads replicas over. What is wrong with it is refused by modules/topology."
}

variable "replication_factor" {
  type        = number
  description = "Replicas of each partition in Kafka, no more than brokers. Null: as many as brokers, up to three."
  default     = null
}

variable "arch" {
  type        = string
  description = "Architecture of the hosts: x86_64 or arm64. One that is not the machine's own is emulated by qemu-user, about ten times slower."
  default     = "x86_64"

  validation {
    condition     = contains(["x86_64", "arm64"], var.arch)
    error_message = "arch \"${var.arch}\" must be x86_64 or arm64."
  }
}

variable "debian_release" {
  type        = string
  description = "Code name of the hosts' Debian."
  default     = "bookworm"

  validation {
    condition     = contains(["bookworm", "trixie"], var.debian_release)
    error_message = "debian_release \"${var.debian_release}\" must be bookworm (12) or trixie (13)."
  }
}

variable "debian_mirror" {
  type        = string
  description = "Address of a Debian mirror for the base image and its hosts. Empty: what mmdebstrap takes by itself."
  default     = ""
}

variable "image_hook" {
  type        = string
  description = "Shell commands that finish the base image, run as root on this machine with the image's folder as $1; other commands make another image. For tests whose hosts should have something ready."
  default     = ""
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

variable "name_servers" {
  type        = list(string)
  description = "IPv4 addresses of the hosts' name servers. Empty: those that this machine asks."
  default     = []

  validation {
    condition     = alltrue([for it in var.name_servers : can(cidrhost("${it}/32", 0)) && !startswith(it, "127.")])
    error_message = "name_servers must be IPv4 addresses that hosts can reach, such as [\"192.168.1.1\"]; 127.0.0.1 is a host itself."
  }
}

# storage

variable "state_dir" {
  type        = string
  description = "Folder on this machine for the hosts' disks and tables. Not on an overlay, nor on a file system without extended attributes."
  default     = "/var/lib/imdb-pipeline"

  validation {
    condition     = startswith(var.state_dir, "/")
    error_message = "state_dir \"${var.state_dir}\" must be an absolute path."
  }
}

variable "cache_dir" {
  type        = string
  description = "Folder on this machine for base images, kept over `terraform destroy` and shared by all checkouts."
  default     = "~/.cache/imdb-pipeline"
}
