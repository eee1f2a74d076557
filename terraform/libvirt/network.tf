locals {
  bridge = "imdb-${local.id}"
  subnet = coalesce(var.subnet, format("10.%d.%d.0/24",
  192 + parseint(substr(local.id, 0, 2), 16) % 64, parseint(substr(local.id, 2, 2), 16)))

  addresses = { for key, number in module.topology.numbers : key => cidrhost(local.subnet, number) }
  gateway   = cidrhost(local.subnet, 1)
}

# A bridge with NAT. Addresses are static; libvirt answers for the hosts' names, so that one more changes no other host.
resource "libvirt_network" "hosts" {
  name      = local.bridge
  bridge    = local.bridge
  mode      = "nat"
  addresses = [local.subnet]
  autostart = true

  dhcp {
    enabled = false
  }
  dns {
    enabled = true

    dynamic "hosts" {
      for_each = local.machines
      content {
        hostname = hosts.value.name
        ip       = hosts.value.address
      }
    }
  }

  depends_on = [terraform_data.preflight]
}
