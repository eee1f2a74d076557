variable "hosts" {
  type = map(object({
    groups    = set(string)
    cpus      = number
    memory_mb = number
    disk_gb   = number
    number    = optional(number)
  }))
  description = "A target's hosts by key: groups, cpus, memory in MiB, disk in GiB and, if given, the number in the subnet."
}
