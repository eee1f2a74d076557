variable "name" {
  type        = string
  description = "Name of the environment: its folder in inventories/, and its workspace."
}

variable "target" {
  type        = string
  description = "The target that asks: local, libvirt or aws."
}

variable "wanted_target" {
  type        = string
  description = "The target that the environment's input names; null where it names none."
}

variable "inventories" {
  type        = string
  description = "Path of inventories/, relative to the root module, so that a checkout can be moved."
}

variable "hosts" {
  type        = set(string)
  description = "Keys of the hosts that are asked for."
}

variable "data" {
  type        = map(object({ host = string, what = string, place = string, file = optional(string) }))
  description = "What holds data, by a name that a file can have: the key of its host, what it is in words, and where it lies. Another place is another disk. Where Terraform can see it by itself: a file that is there for as long as the data is."
}

variable "delete_data" {
  type        = string
  description = "Keys of hosts whose data this run may delete, or the environment's name for all data; separated by commas."
}

variable "home" {
  type        = map(string)
  description = "Where the environment is made, such as AWS's account and region. That of its first apply is kept, in the state and in the folder. Empty: there is one place alone."
  default     = {}
}

variable "known_id" {
  type        = string
  description = "The id of an environment whose state was lost; null draws one."
  default     = null
}
