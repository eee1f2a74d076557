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

locals {
  # By words that no resource is needed for: what is refused is refused before any is made.
  place = coalesce(var.pool, "${var.state_dir}/${local.own_pool}")

  # System disks hold the tables, and how far the producer has come.
  holders = ["spark_worker", "streaming", "producer"]
  data = merge(
    { for disk, it in local.data_disks : disk => {
      host = it.key, what = "the data disk ${var.name}-${disk} (${it.path})", place = "${local.place}/${disk}"
    } },
    { for key, it in local.machines : "${key}-system" => {
      host = key, what = "the system disk of host ${it.name}, with the tables in /opt/spark-output", place = "${local.place}/${key}-system"
    } if length(setintersection(var.hosts[key].groups, local.holders)) > 0 },
  )
}

# Removed before what it stands for, and not without the word: see modules/environment.
resource "terraform_data" "data" {
  for_each = local.data

  triggers_replace = try(libvirt_volume.data[each.key].id, libvirt_volume.system[each.value.host].id)
  input            = merge(module.environment.guard, { GUARD_DATA = each.key, GUARD_CONTENT = jsonencode(each.value) })

  provisioner "local-exec" {
    command     = "${path.module}/../modules/environment/guard.sh note"
    environment = self.input
  }
  provisioner "local-exec" {
    when        = destroy
    command     = "${path.module}/../modules/environment/guard.sh release"
    environment = self.input
  }

  lifecycle {
    ignore_changes = [input]
  }

  depends_on = [terraform_data.shutdown]
}

# The first of all to go when the environment is destroyed, so that what is refused has changed nothing.
resource "terraform_data" "guard" {
  input = module.environment.guard

  provisioner "local-exec" {
    when        = destroy
    command     = "${path.module}/../modules/environment/guard.sh all"
    environment = self.input
  }

  lifecycle {
    ignore_changes = [input]
  }

  depends_on = [
    terraform_data.data,
    terraform_data.ready,
    terraform_data.accelerator,
    module.inventory,
    module.environment,
  ]
}
