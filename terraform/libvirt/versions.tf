terraform {
  required_version = ">= 1.6"

  # An environment's state lies in its folder.
  backend "local" {
    path          = "../../inventories/libvirt/terraform.tfstate"
    workspace_dir = "../../inventories"
  }

  required_providers {
    libvirt = {
      source  = "dmacvicar/libvirt"
      version = "0.8.3"
    }
  }
}

# tools/providers brings the provider where no registry is reachable.
provider "libvirt" {
  uri = module.connection.uri
}
