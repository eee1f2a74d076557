locals {
  own_pool = "imdb-${local.id}"
  pool     = var.pool == null ? libvirt_pool.hosts[0].name : var.pool
  # In a pool of others, our files are told by it.
  prefix = var.pool == null ? "" : "${local.own_pool}-"

  # Groups whose data has a disk of its own, and where it is mounted.
  data_paths = { zookeeper = "/var/lib/zookeeper", kafka = "/var/lib/kafka" }
  data_disks = merge([for key, host in var.hosts : {
    for group, path in local.data_paths : "${key}-${group}" => {
      key  = key
      path = path
      # A world-wide name, by which the host finds the disk whatever else is attached.
      wwn = "5${substr(sha256("${local.id}|${key}|${group}"), 0, 15)}"
    } if contains(host.groups, group)
  }]...)
  host_data_disks = { for key in keys(var.hosts) : key => [
    for disk in sort(keys(local.data_disks)) : disk if local.data_disks[disk].key == key
  ] }

  gib = 1024 * 1024 * 1024
}

resource "libvirt_pool" "hosts" {
  count = var.pool == null ? 1 : 0

  name = local.own_pool
  type = "dir"
  target {
    path = "${var.state_dir}/${local.own_pool}"
  }

  depends_on = [terraform_data.preflight]
}

# A system disk holds what was written since the image. It grows to its size at the first start.
resource "libvirt_volume" "system" {
  for_each = local.machines

  name           = "${local.prefix}${each.value.name}-system"
  pool           = local.pool
  base_volume_id = libvirt_volume.base.id
  size           = var.hosts[each.key].disk_gb * local.gib
  format         = "qcow2"

  lifecycle {
    ignore_changes = [size]
    postcondition {
      condition     = self.size == var.hosts[each.key].disk_gb * local.gib
      error_message = "The system disk of host ${each.value.name} has ${floor(self.size / local.gib)} GiB, and disk_gb of host \"${each.key}\" is ${var.hosts[each.key].disk_gb}. A disk is not made anew for that by itself. If the host may be installed anew, with its data disks kept: terraform apply -replace='libvirt_volume.system[\"${each.key}\"]'"
    }
  }
}

# A data disk outlives the virtual machine and its system disk.
resource "libvirt_volume" "data" {
  for_each = local.data_disks

  name   = "${local.prefix}${var.name}-${each.key}"
  pool   = local.pool
  size   = var.data_disk_gb * local.gib
  format = "qcow2"

  lifecycle {
    ignore_changes = [size]
    postcondition {
      condition     = self.size == var.data_disk_gb * local.gib
      error_message = "The data disk ${self.name} has ${floor(self.size / local.gib)} GiB, and data_disk_gb is ${var.data_disk_gb}. A data disk is never made anew for that. To make it larger: docs/libvirt.md."
    }
  }

  depends_on = [terraform_data.preflight]
}
