locals {
  # Paths in the checkout are relative: it may be moved.
  id        = module.environment.id
  generated = module.environment.generated
  state     = "${var.state_dir}/${local.id}"
  scripts   = "${path.module}/scripts"

  # Terraform runs as the operator; a script that needs root takes it by sudo
  # and gets its arguments through variables that start with LOCAL_.
  environment = {
    LOCAL_ID     = local.id
    LOCAL_STATE  = local.state
    LOCAL_BRIDGE = local.bridge
    LOCAL_SUBNET = local.subnet
    LOCAL_ARCH   = var.arch
  }
}

module "environment" {
  source        = "../modules/environment"
  name          = var.name
  target        = "local"
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
  }

  provisioner "local-exec" {
    command     = "${local.scripts}/preflight.sh"
    environment = local.environment
  }
}
