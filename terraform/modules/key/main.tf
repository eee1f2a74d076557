terraform {
  required_version = ">= 1.6"
}

locals {
  marker = "${var.folder}/.key"
  made   = try(fileexists("${var.folder}/id_ed25519.pub") ? trimspace(file(local.marker)) : "", "")
}

# A key that was lost is made again: what was never written differs from any state.
resource "terraform_data" "key" {
  triggers_replace = [var.folder, local.made == "" ? uuid() : local.made]
  input            = { folder = var.folder, script = "${path.module}/key.sh" }

  provisioner "local-exec" {
    command     = "\"$KEY_SCRIPT\" create"
    environment = { KEY_SCRIPT = self.input.script, KEY_FOLDER = self.input.folder, KEY_MARK = self.triggers_replace[1] }
  }
  provisioner "local-exec" {
    when        = destroy
    command     = "\"$KEY_SCRIPT\" delete"
    environment = { KEY_SCRIPT = self.input.script, KEY_FOLDER = self.input.folder }
  }
}
