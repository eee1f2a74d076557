locals {
  image_recipe = "${local.scripts}/image.sh"
  image_key    = substr(sha256("${filesha256(local.image_recipe)}|${var.arch}|${var.debian_release}|${var.debian_mirror}|${var.image_hook}"), 0, 12)
  image        = "${pathexpand(var.cache_dir)}/images/${var.debian_release}-${var.arch}-${local.image_key}"

  image_environment = merge(local.environment, {
    LOCAL_IMAGE          = local.image
    LOCAL_DEBIAN_RELEASE = var.debian_release
    LOCAL_DEBIAN_MIRROR  = var.debian_mirror
    LOCAL_IMAGE_HOOK     = var.image_hook
  })
}

# Other than the machine's own architecture: qemu-user through binfmt_misc.
resource "terraform_data" "emulation" {
  count = local.emulated ? 1 : 0

  triggers_replace = local.emulation_alive ? local.emulation_generation : local.emulation_generation + 1
  input            = local.environment

  provisioner "local-exec" {
    command     = "${local.scripts}/emulation.sh up"
    environment = merge(self.input, { LOCAL_GENERATION = self.triggers_replace })
  }
  provisioner "local-exec" {
    when        = destroy
    command     = "${path.module}/scripts/emulation.sh down"
    environment = self.input
  }

  depends_on = [terraform_data.preflight]
}

# Made once and kept: the cache outlives the hosts.
resource "terraform_data" "image" {
  triggers_replace = local.image

  # The folder is the operator's where that can be, who keeps other caches beside the images.
  provisioner "local-exec" {
    command     = "mkdir -p \"$(dirname \"$LOCAL_IMAGE\")\" 2>/dev/null; ${local.scripts}/image.sh"
    environment = local.image_environment
  }

  depends_on = [terraform_data.preflight, terraform_data.emulation]
}
