locals {
  # Paths in the checkout are relative: it may be moved.
  id        = module.environment.id
  generated = module.environment.generated
  scripts   = "${path.module}/scripts"

  # The scripts get their arguments through variables that start with LIBVIRT_.
  environment = {
    LIBVIRT_ID     = local.id
    LIBVIRT_URI    = var.uri
    LIBVIRT_ARCH   = var.arch
    LIBVIRT_SUBNET = local.subnet
    LIBVIRT_BRIDGE = local.bridge
    LIBVIRT_MAKES  = var.image == null ? "image" : ""
  }
}

module "environment" {
  source        = "../modules/environment"
  name          = var.name
  target        = "libvirt"
  wanted_target = var.target
  inventories   = "${path.root}/../../inventories"
  hosts         = keys(var.hosts)
  data          = local.data
  delete_data   = var.delete_data
}

module "topology" {
  source             = "../modules/topology"
  hosts              = var.hosts
  replication_factor = var.replication_factor
}

module "connection" {
  source = "./connection"
  uri    = var.uri
}

# Everything that can be refused is refused here, before anything is made.
resource "terraform_data" "preflight" {
  input = {
    id   = local.id
    name = var.name
  }

  lifecycle {
    precondition {
      condition     = length(module.environment.problems) == 0
      error_message = module.environment.message
    }
    precondition {
      condition     = length(module.topology.problems) == 0
      error_message = module.topology.message
    }
    precondition {
      condition     = alltrue([for host in var.hosts : host.disk_gb >= 4])
      error_message = "disk_gb of ${join(", ", [for key, host in var.hosts : "host \"${key}\" is ${host.disk_gb}" if host.disk_gb < 4])}: a system disk must have at least 4 GiB, for Debian and what is installed. Data has disks of its own (data_disk_gb)."
    }
    precondition {
      condition     = module.connection.local || var.accelerator != "auto"
      error_message = "uri is \"${var.uri}\", another machine's libvirt, and accelerator is auto: what KVM does there cannot be tried from here. Set accelerator to kvm or emulation."
    }
    precondition {
      condition     = var.accelerator != "kvm" || !module.connection.local || var.arch == local.machine_arch
      error_message = "accelerator is kvm, but arch is ${var.arch} and this machine is ${local.machine_arch}: another architecture can only be emulated. Set accelerator to auto or emulation, or arch to ${local.machine_arch}."
    }
  }

  provisioner "local-exec" {
    command     = "${local.scripts}/preflight.sh"
    environment = local.environment
  }
}
