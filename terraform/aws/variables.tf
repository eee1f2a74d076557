# identity

variable "name" {
  type        = string
  description = "Name of the environment: its folder in inventories/, its hosts and its bucket are called by it. Any other name than `aws` needs a workspace of the same name: TF_WORKSPACE=<name>."
  default     = "aws"

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

variable "region" {
  type        = string
  description = "AWS region of everything here."
  default     = "eu-central-1"

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region)) && !startswith(var.region, "cn-")
    error_message = "region \"${var.region}\" must be the name of an AWS region, such as eu-central-1, and none of AWS China, where Debian's images have another owner."
  }
}

variable "tags" {
  type        = map(string)
  description = "Tags for everything here, beside Project, Pipeline and ManagedBy."
  default     = {}

  validation {
    condition     = length(setintersection(keys(var.tags), ["Name", "Project", "Pipeline", "ManagedBy"])) == 0
    error_message = "tags must not set Name, Project, Pipeline or ManagedBy: these are set here. Take other keys."
  }
}

# instances

variable "hosts" {
  type = map(object({
    groups        = set(string)
    cpus          = optional(number, 2)
    memory_mb     = optional(number, 4096)
    disk_gb       = optional(number, 20)
    number        = optional(number)
    id            = optional(number)
    instance_type = optional(string)
    spot          = optional(bool, false)
    zone          = optional(string)
  }))
  description = "Hosts by key (the host is called <name>-<key>): the groups of site.yml that it belongs to; its cpus and memory in MiB, which the roles size services by and the smallest Graviton instance that fits is taken for; its system disk in GiB; and, where two keys meet on one address, its number in the subnet (10 to 249); and its id in ZooKeeper and Kafka (1 to 255), where it shall not be the number at the end of the key. Here also, if wanted: an instance type; spot, for hosts that are Spark workers and nothing else; and the zone, such as eu-central-1b, instead of the one that follows from the key. What is wrong with it is refused by modules/topology and main.tf."
}

variable "replication_factor" {
  type        = number
  description = "Replicas of each partition in Kafka, no more than brokers. Null: as many as brokers, up to three."
  default     = null
}

variable "arch" {
  type        = string
  description = "Architecture of the hosts. Here all hosts are Graviton instances: arm64."
  default     = "arm64"

  validation {
    condition     = var.arch == "arm64"
    error_message = "arch \"${var.arch}\" must be arm64: this target makes Graviton instances only. For x86_64 hosts take the target local or libvirt."
  }
}

variable "debian_release" {
  type        = string
  description = "Code name of the hosts' Debian. A change holds for hosts that are made or replaced later: docs/aws.md says how one after another is."
  default     = "bookworm"

  validation {
    condition     = contains(["bookworm", "trixie"], var.debian_release)
    error_message = "debian_release \"${var.debian_release}\" must be bookworm (12) or trixie (13)."
  }
}

variable "debian_mirror" {
  type        = string
  description = "Address of a Debian mirror that the hosts reach, ending in /debian; the security archive is looked for beside it, in /debian-security. Empty: what Debian's image has. Needed with egress = endpoints."
  default     = ""

  validation {
    condition     = var.debian_mirror == "" || can(regex("^https?://[A-Za-z0-9.:/_-]+/debian$", var.debian_mirror))
    error_message = "debian_mirror \"${var.debian_mirror}\" must be an http:// or https:// address that ends in /debian."
  }
}

variable "termination_protection" {
  type        = bool
  description = "Whether AWS refuses to terminate the hosts, but for spot ones. `terraform destroy` fails until it is false and applied."
  default     = false
}

# network

variable "subnet" {
  type        = string
  description = "Address range of the VPC, /16 to /22 (/23 for one zone), in CIDR notation. Each zone gets a /24 of it for hosts; the last /24 is for what has public addresses. Null: a /20 of 10.64.0.0/10, derived from the name."
  default     = null

  validation {
    condition     = var.subnet == null ? true : can(cidrnetmask(var.subnet)) && can(regex("/(1[6-9]|2[0-3])$", var.subnet))
    error_message = "subnet \"${coalesce(var.subnet, "null")}\" must be an IPv4 range from /16 to /23 in CIDR notation, such as 10.70.0.0/20: a smaller one has no room for hosts, a larger one AWS refuses."
  }
  validation {
    condition     = var.subnet == null || !can(cidrnetmask(var.subnet)) ? true : cidrsubnet(var.subnet, 0, 0) == var.subnet
    error_message = "subnet \"${coalesce(var.subnet, "null")}\" has bits set behind its prefix. Did you mean ${try(cidrsubnet(var.subnet, 0, 0), "another range")}?"
  }
}

variable "peer_cidrs" {
  type        = list(string)
  description = "Ranges that are or will be routed to this VPC (peering, VPN): `subnet` must not overlap them."
  default     = []

  validation {
    condition     = alltrue([for cidr in var.peer_cidrs : can(cidrnetmask(cidr))])
    error_message = "peer_cidrs has what is no IPv4 range in CIDR notation: ${join(", ", [for cidr in var.peer_cidrs : cidr if !can(cidrnetmask(cidr))])}."
  }
}

variable "zones" {
  type        = list(string)
  description = "Availability zones, in the order in which hosts are spread over them, one to three. Null: the region's first three."
  default     = null

  validation {
    condition     = var.zones == null ? true : length(var.zones) >= 1 && length(var.zones) <= 3 && length(distinct(var.zones)) == length(var.zones)
    error_message = "zones must name one to three zones of the region, each once; it has [${join(", ", coalesce(var.zones, []))}]."
  }
}

variable "egress" {
  type        = string
  description = "How hosts reach what is outside the VPC: `nat`, a NAT gateway, or `endpoints`, not at all but for AWS's own services by private endpoints; then they need a Debian mirror inside (debian_mirror)."
  default     = "nat"

  validation {
    condition     = contains(["nat", "endpoints"], var.egress)
    error_message = "egress \"${var.egress}\" must be nat or endpoints."
  }
}

variable "nat_per_zone" {
  type        = bool
  description = "Whether each zone has a NAT gateway of its own, so that the loss of a zone cuts no other off. Else the first zone's serves all."
  default     = false
}

# access

variable "access" {
  type        = string
  description = "How the operator reaches the hosts: `ssm`, ssh through Session Manager, nothing listens for it; or `bastion`, ssh through a host with a public address (bastion_allowed_cidrs)."
  default     = "ssm"

  validation {
    condition     = contains(["ssm", "bastion"], var.access)
    error_message = "access \"${var.access}\" must be ssm or bastion."
  }
}

variable "bastion_allowed_cidrs" {
  type        = list(string)
  description = "With access = bastion: the IPv4 ranges that may reach its ssh, such as [\"203.0.113.7/32\"]."
  default     = []

  validation {
    condition     = alltrue([for cidr in var.bastion_allowed_cidrs : can(cidrnetmask(cidr))])
    error_message = "bastion_allowed_cidrs has what is no IPv4 range in CIDR notation (the bastion has no IPv6 address): ${join(", ", [for cidr in var.bastion_allowed_cidrs : cidr if !can(cidrnetmask(cidr))])}."
  }
  validation {
    condition     = alltrue([for cidr in var.bastion_allowed_cidrs : try(tonumber(split("/", cidr)[1]) >= 16, true)])
    error_message = "bastion_allowed_cidrs would open ssh to the world, or to so much of it that it is no allow-list: ${join(", ", [for cidr in var.bastion_allowed_cidrs : cidr if try(tonumber(split("/", cidr)[1]) < 16, false)])}. Give your own addresses, /16 or narrower: the best is one /32."
  }
}

variable "monitoring_cidrs" {
  type        = list(string)
  description = "IPv4 ranges within the VPC, or routed to it, that may read the metrics of the hosts: those of a Prometheus, such as [\"10.64.0.20/32\"]."
  default     = []

  validation {
    condition     = alltrue([for cidr in var.monitoring_cidrs : can(cidrnetmask(cidr))])
    error_message = "monitoring_cidrs has what is no IPv4 range in CIDR notation: ${join(", ", [for cidr in var.monitoring_cidrs : cidr if !can(cidrnetmask(cidr))])}."
  }
  validation {
    condition = alltrue([for cidr in var.monitoring_cidrs : try(
      can(regex("^(10\\.|172\\.(1[6-9]|2[0-9]|3[01])\\.|192\\.168\\.|100\\.(6[4-9]|[7-9][0-9]|1[01][0-9]|12[0-7])\\.)", cidr)) &&
    tonumber(split("/", cidr)[1]) >= 16, true)])
    error_message = "monitoring_cidrs has ranges that are not private or wider than /16: ${join(", ", var.monitoring_cidrs)}. Whoever reads the metrics needs no password: give the address of your Prometheus in the VPC or a peered network, the best is one /32."
  }
}

variable "ssm_agent_version" {
  type        = string
  description = "Version of AWS's Session Manager agent that hosts install at first boot (Debian's images have none). A change holds for hosts that are made later."
  default     = "3.3.4851.0"

  validation {
    condition     = can(regex("^[0-9]+\\.[0-9]+\\.[0-9]+\\.[0-9]+$", var.ssm_agent_version))
    error_message = "ssm_agent_version \"${var.ssm_agent_version}\" must be a version of four numbers, such as 3.3.4851.0: each host is to get the same."
  }
}

# storage

variable "volume_gb" {
  type = object({
    kafka     = optional(number, 50)
    zookeeper = optional(number, 10)
  })
  description = "Sizes in GiB of the data volumes of hosts with Kafka and with ZooKeeper. They can grow, not shrink."
  default     = {}

  validation {
    condition     = alltrue([for size in values(var.volume_gb) : size >= 1 && size <= 16384 && floor(size) == size])
    error_message = "volume_gb must be whole numbers from 1 to 16384; it has kafka = ${var.volume_gb.kafka}, zookeeper = ${var.volume_gb.zookeeper}."
  }
}

variable "final_snapshots" {
  type        = bool
  description = "Whether a snapshot is made of a data volume before it is deleted. Snapshots stay after `terraform destroy`, and cost."
  default     = false
}

variable "kms_key_arn" {
  type        = string
  description = "Key that encrypts volumes and bucket. Null: AWS's own keys. A change holds for volumes that are made later."
  default     = null

  validation {
    condition     = var.kms_key_arn == null ? true : can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", var.kms_key_arn))
    error_message = "kms_key_arn \"${coalesce(var.kms_key_arn, "null")}\" must be the ARN of a key, arn:aws:kms:<region>:<account>:key/<id>; an alias is none."
  }
}

variable "output_force_destroy" {
  type        = bool
  description = "Whether `terraform destroy` deletes the bucket with all tables in it. Else it keeps a bucket that is not empty. Must be applied before it holds."
  default     = false
}

variable "output_noncurrent_days" {
  type        = number
  description = "Days after which overwritten and deleted objects are gone from the bucket for good."
  default     = 30

  validation {
    condition     = var.output_noncurrent_days >= 1 && floor(var.output_noncurrent_days) == var.output_noncurrent_days
    error_message = "output_noncurrent_days ${var.output_noncurrent_days} must be a whole number of at least 1."
  }
}
