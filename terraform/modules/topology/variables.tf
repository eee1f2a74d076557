variable "hosts" {
  type = map(object({
    groups    = set(string)
    cpus      = number
    memory_mb = number
    disk_gb   = number
    number    = optional(number)
    id        = optional(number)
    rack      = optional(string)
  }))
  description = "A target's hosts by key: groups, cpus, memory in MiB, disk in GiB and, if given, the number in the subnet, the id in ZooKeeper and Kafka, and the rack."
}

variable "replication_factor" {
  type        = number
  description = "Replicas of each partition in Kafka; null follows the number of brokers, up to three."
  default     = null
}
