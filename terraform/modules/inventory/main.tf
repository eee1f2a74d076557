terraform {
  required_version = ">= 1.6"
}

locals {
  groups = ["zookeeper", "kafka", "spark_master", "spark_worker", "streaming", "producer"]

  hosts_file = "${var.inventory_folder}/hosts.yml"
  ssh_config = "${var.generated_folder}/ssh_config"

  header = "# Written by terraform; changes are lost with the next apply."

  inventory = { all = {
    hosts = { for name, host in var.hosts : name => merge({
      ansible_host                 = host.ssh_address
      ansible_user                 = var.user
      ansible_ssh_private_key_file = "${var.generated_folder}/id_ed25519"
      ansible_ssh_common_args      = "-F ${local.ssh_config}"
      host_address                 = host.address
      host_external_address        = host.external_address
      host_cpus                    = host.cpus
      host_memory_mb               = host.memory_mb
      host_arch                    = host.arch
      host_emulated                = host.emulated
    }, host.rack == null ? {} : { host_rack = host.rack }) }
    children = { for group in local.groups : group => {
      hosts = { for name, host in var.hosts : name => {} if contains(host.groups, group) }
    } }
  } }

  files = {
    (local.hosts_file) = "${local.header}\n${yamlencode(local.inventory)}"
    (local.ssh_config) = templatefile("${path.module}/ssh_config.tftpl", {
      header  = local.header
      hosts   = var.hosts
      user    = var.user
      folder  = var.generated_folder
      options = var.ssh_options
    })
  }

  uis = { spark_master = 8080, spark_worker = 8081, streaming = 4040 }
}

# One resource a file. A file that was deleted or edited is written again.
resource "terraform_data" "file" {
  for_each = local.files

  triggers_replace = [
    each.value,
    try(filesha256(each.key), "") == sha256(each.value) ? local.writes[each.key] : local.writes[each.key] + 1,
  ]
  input = each.key

  provisioner "local-exec" {
    command     = "mkdir -p \"$(dirname \"$FILE\")\" && printf %s \"$CONTENT\" > \"$FILE\" && echo \"$WRITES\" > \"$FILE_WRITES\""
    environment = { FILE = each.key, CONTENT = each.value, WRITES = self.triggers_replace[1], FILE_WRITES = local.counters[each.key] }
  }
  provisioner "local-exec" {
    when        = destroy
    command     = "rm -f \"$FILE\" && { rmdir \"$(dirname \"$FILE\")\" 2>/dev/null || true; }"
    environment = { FILE = self.input }
  }
}

locals {
  # How often each file was written: what makes a lost one differ from its state.
  counters = { for file in keys(local.files) : file => "${var.generated_folder}/.${basename(file)}.writes" }
  writes   = { for file, counter in local.counters : file => try(tonumber(trimspace(file(counter))), 0) }
}
