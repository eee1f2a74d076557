variable "hosts" {
  type = map(object({
    groups           = set(string)
    address          = string
    external_address = string
    ssh_address      = string
    cpus             = number
    memory_mb        = number
    arch             = string
    emulated         = optional(bool, false)
    id               = optional(number)
    rack             = optional(string)
    volumes          = optional(list(object({ device = string, path = string })), [])
  }))
  description = "Hosts by name: their groups, the address that other hosts use, the one for the operator's tools, the one for ssh, their size (memory in MiB), architecture, whether it is emulated, the id in ZooKeeper and Kafka, the rack or zone, and data volumes: a device by a name that stays, and the folder that it is mounted on."
}

variable "user" {
  type        = string
  description = "The admin user of the hosts; may use sudo."
}

variable "inventory_folder" {
  type        = string
  description = "Folder for hosts.yml. Nothing else may lie there: Ansible would parse it."
}

variable "generated_folder" {
  type        = string
  description = "Folder of id_ed25519 and known_hosts, and for the ssh config. Hidden, as Ansible would parse what lies beside hosts.yml; relative, as the checkout may be moved."
}

variable "ssh_options" {
  type        = map(string)
  description = "More options for the ssh config, such as ProxyCommand."
  default     = {}
}

variable "replication_factor" {
  type        = number
  description = "Replicas of each partition in Kafka; null follows the number of brokers."
  default     = null
}

variable "connect_timeout" {
  type        = number
  description = "Seconds that a connection may take to begin, where that is long; null leaves it to Ansible."
  default     = null
}

variable "facts" {
  type        = map(string)
  description = "More that a target knows of its hosts; Ansible gets each as host_<name>."
  default     = {}
}
