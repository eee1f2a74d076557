# What a host is told at its first boot: its name, keys and address.
#
# Not by the provider's libvirt_cloudinit_disk: that one reads each disk back through the daemon at every plan, and its
# client library now and then waits for the end of such a read for good, or takes a part of it for the whole.
locals {
  cloud_init = { for key, it in local.machines : key => {
    LIBVIRT_USER_DATA = templatefile("${path.module}/cloud-init/user-data.tftpl", {
      name    = it.name
      address = it.address
      # A given image manages its name servers by itself.
      name_server      = var.image == null ? local.gateway : null
      public_key       = trimspace(file(module.key.public_key_file))
      host_public_key  = trimspace(file(module.host_key[key].public_key_file))
      host_private_key = file(trimsuffix(module.host_key[key].public_key_file, ".pub"))
    })
    # A new id has cloud-init write the host's keys and names again.
    LIBVIRT_META_DATA = jsonencode({
      instance-id    = "${it.machine}-${substr(sha256(file(module.key.public_key_file)), 0, 8)}-${substr(sha256(file(module.host_key[key].public_key_file)), 0, 8)}"
      local-hostname = it.name
    })
    LIBVIRT_NETWORK_CONFIG = templatefile("${path.module}/cloud-init/network-config.tftpl", {
      mac     = lower(it.mac)
      address = it.address
      gateway = local.gateway
    })
  } }
}

resource "terraform_data" "cloud_init" {
  for_each = local.machines

  triggers_replace = sha256(jsonencode(local.cloud_init[each.key]))
  input            = "${local.generated}/${each.value.name}/cloud-init.iso"

  provisioner "local-exec" {
    command     = "${local.scripts}/cloud_init.sh"
    environment = merge(local.environment, local.cloud_init[each.key], { LIBVIRT_FILE = self.input })
  }
  provisioner "local-exec" {
    when        = destroy
    command     = "rm -f \"$FILE\""
    environment = { FILE = self.input }
  }
}

resource "libvirt_volume" "cloud_init" {
  for_each = local.machines

  # Its name tells its content, so another content is another volume, and a virtual machine that boots with it.
  name   = "${local.prefix}${each.value.name}-cloud-init-${substr(terraform_data.cloud_init[each.key].triggers_replace, 0, 8)}.iso"
  pool   = local.pool
  source = terraform_data.cloud_init[each.key].output
  format = "raw"

  lifecycle {
    # libvirt calls it "iso" once it is there.
    ignore_changes = [format, source]
  }
}
