terraform {
  required_version = ">= 1.6"
}

locals {
  groups = ["zookeeper", "kafka", "spark_master", "spark_worker", "streaming", "producer", "monitoring"]

  hosts_file = "${var.inventory_folder}/hosts.yml"
  ssh_config = "${var.generated_folder}/config"
  # What Ansible and ssh read needs whole paths; both are written again after the checkout was moved.
  absolute = abspath(var.generated_folder)

  header = "# Written by terraform; changes are lost with the next apply."

  inventory = { all = {
    hosts = { for name, host in var.hosts : name => merge({
      ansible_host = host.ssh_address
      ansible_user = var.user
      # The key stands in the ssh config. Given here it would be an option of ssh, read again for tokens.
      ansible_ssh_common_args = "-F '${replace(local.absolute, "'", "'\\''")}/config'"
      host_address            = host.address
      host_external_address   = host.external_address
      host_cpus               = host.cpus
      host_memory_mb          = host.memory_mb
      host_arch               = host.arch
      host_emulated           = host.emulated
      },
      var.connect_timeout == null ? {} : { ansible_ssh_timeout = var.connect_timeout },
      host.id == null ? {} : { host_id = host.id },
      host.rack == null ? {} : { host_rack = host.rack },
      length(host.volumes) == 0 ? {} : { host_volumes = host.volumes },
      # Facts about the host, under names of their own: inventories/pipeline makes the settings' defaults of them, so
      # that what an environment's group_vars say wins.
      { for name, value in var.facts : "host_${name}" => value },
      var.replication_factor == null ? {} : { host_replication_factor = var.replication_factor },
    ) }
    children = { for group in local.groups : group => {
      hosts = { for name, host in var.hosts : name => {} if contains(host.groups, group) }
    } }
  } }

  files = {
    (local.hosts_file) = "${local.header}\n${yamlencode(local.inventory)}"
    (local.ssh_config) = templatefile("${path.module}/ssh_config.tftpl", {
      header = local.header
      hosts  = var.hosts
      user   = var.user
      # ssh reads % as the beginning of a token.
      folder  = replace(local.absolute, "%", "%%")
      options = var.ssh_options
    })
  }

  uis = { spark_master = 8080, spark_worker = 8081, streaming = 4040 }
}

# One resource a file. A file that was deleted or edited is written again: what was never written differs from any state.
resource "terraform_data" "file" {
  for_each = local.files

  triggers_replace = [each.value, local.marks[each.key] == "" ? uuid() : local.marks[each.key]]
  input            = { file = each.key, mark = local.mark_files[each.key] }

  # Tried again: what removes the other file may take the folder away, empty, between two commands.
  provisioner "local-exec" {
    command     = "for i in 1 2 3; do mkdir -p \"$(dirname \"$FILE\")\" \"$(dirname \"$MARK_FILE\")\" && printf %s \"$CONTENT\" > \"$FILE\" && echo \"$MARK\" > \"$MARK_FILE\" && exit 0; done; exit 1"
    environment = { FILE = self.input.file, CONTENT = each.value, MARK = self.triggers_replace[1], MARK_FILE = self.input.mark }
  }
  provisioner "local-exec" {
    when        = destroy
    command     = "rm -f \"$FILE\" \"$MARK_FILE\"; rmdir \"$(dirname \"$FILE\")\" \"$(dirname \"$MARK_FILE\")\" 2>/dev/null || true"
    environment = { FILE = self.input.file, MARK_FILE = self.input.mark }
  }
}

locals {
  mark_files = { for file in keys(local.files) : file => "${var.generated_folder}/.${basename(file)}.mark" }
  marks = { for file, content in local.files : file =>
    try(filesha256(file) == sha256(content) ? trimspace(file(local.mark_files[file])) : "", "")
  }
}
