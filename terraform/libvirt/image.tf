locals {
  image_recipe = "${local.scripts}/image.sh"
  image_key    = substr(sha256("${filesha256(local.image_recipe)}|${var.arch}|${var.debian_release}|${var.debian_mirror}"), 0, 12)
  image        = "${abspath(pathexpand(var.cache_dir))}/images/libvirt-${var.debian_release}-${var.arch}-${local.image_key}"

  # A file's name tells what it holds, so hosts that stand on one kind are not given the other's way to boot.
  base_name   = "${local.prefix}base-${var.image == null ? "made" : "given"}-${var.arch}"
  base_source = var.image == null ? "${local.image}/disk.qcow2" : can(regex("^https?://", var.image)) ? var.image : abspath(pathexpand(var.image))
  boot_files  = var.image == null ? { kernel = "vmlinuz", initrd = "initrd.img" } : {}
}

# Made once and kept: the cache outlives the hosts.
resource "terraform_data" "image" {
  count = var.image == null ? 1 : 0

  triggers_replace = local.image

  provisioner "local-exec" {
    command = "${local.scripts}/image.sh"
    environment = merge(local.environment, {
      LIBVIRT_IMAGE          = local.image
      LIBVIRT_DEBIAN_RELEASE = var.debian_release
      LIBVIRT_DEBIAN_MIRROR  = var.debian_mirror
    })
  }

  depends_on = [terraform_data.preflight]
}

# What the system disks are overlays of. It is never changed under them: another image is taken when it is asked for
# (docs/libvirt.md).
resource "libvirt_volume" "base" {
  name   = local.base_name
  pool   = local.pool
  source = local.base_source
  format = "qcow2"

  lifecycle {
    ignore_changes = [name, source]
    postcondition {
      condition     = self.name == local.base_name
      error_message = "The hosts stand on the image ${self.name}, and ${local.base_name} is asked for (image, arch). Running hosts are never moved to another: give new ones another name (make up NAME=...), or have the system disks made anew, with the data disks kept: terraform apply -replace=libvirt_volume.base"
    }
  }

  depends_on = [terraform_data.image]
}

# The image that is made here has no boot loader: its kernel is given to the virtual machine.
resource "libvirt_volume" "boot" {
  for_each = local.boot_files

  name   = "${local.base_name}-${each.key}"
  pool   = local.pool
  source = "${local.image}/${each.value}"
  format = "raw"

  lifecycle {
    ignore_changes       = [name, source]
    replace_triggered_by = [libvirt_volume.base.id]
  }

  depends_on = [terraform_data.image]
}
