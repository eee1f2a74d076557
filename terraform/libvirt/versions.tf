terraform {
  required_version = ">= 1.6"

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
