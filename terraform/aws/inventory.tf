# The operator's key for the hosts.
module "key" {
  source     = "../modules/key"
  folder     = local.generated
  depends_on = [terraform_data.preflight]
}

# Hosts make their own keys, and ssh writes down those that it meets first.
resource "terraform_data" "known_hosts" {
  input = { file = "${local.generated}/known_hosts", script = "${local.scripts}/known_hosts.sh" }

  provisioner "local-exec" {
    when        = destroy
    command     = "\"$KNOWN_HOSTS_SCRIPT\" delete"
    environment = { KNOWN_HOSTS_SCRIPT = self.input.script, KNOWN_HOSTS = self.input.file }
  }

  depends_on = [module.key]
}

# Whoever takes a host's place has another key: the old one is forgotten.
resource "terraform_data" "known_host" {
  for_each = local.ssh_addresses

  triggers_replace = [aws_instance.host[each.key].id, each.value]
  input            = merge(terraform_data.known_hosts.output, { address = each.value })

  provisioner "local-exec" {
    when        = destroy
    command     = "\"$KNOWN_HOSTS_SCRIPT\" forget"
    environment = { KNOWN_HOSTS_SCRIPT = self.input.script, KNOWN_HOSTS = self.input.file, KNOWN_HOSTS_ADDRESS = self.input.address }
  }
}

locals {
  ssh_addresses = { for key, it in local.machines : key => var.access == "ssm" ? aws_instance.host[key].id : it.address }

  # ssh reads % as the beginning of a token.
  ssh_folder = replace(abspath(local.generated), "%", "%%")

  # Session Manager: AWS leads to the instance of that id and no other, so its key may be taken at first sight.
  # Bastion: what is between the bastion and the host is this VPC; on the way to the bastion, the first sight is a risk.
  proxy_commands = {
    # AWS refuses what comes too fast, and is then asked again, more and more slowly, for up to a minute and a half.
    ssm = "env AWS_RETRY_MODE=standard AWS_MAX_ATTEMPTS=8 aws ssm start-session --region ${var.region} --target %h --document-name AWS-StartSSHSession --parameters portNumber=%p"
    bastion = join(" ", [
      "ssh -W %h:%p -i \"${local.ssh_folder}/id_ed25519\" -o IdentitiesOnly=yes -o ConnectTimeout=10",
      "-o \"UserKnownHostsFile=\\\"${local.ssh_folder}/known_hosts\\\"\" -o StrictHostKeyChecking=accept-new",
      "admin@${try(aws_eip.bastion[0].public_ip, "none")}",
    ])
  }
}

module "inventory" {
  source = "../modules/inventory"

  inventory_folder = module.environment.folder
  generated_folder = local.generated
  user             = "admin"
  hosts = { for key, host in var.hosts : local.machines[key].name => {
    groups           = host.groups
    address          = local.machines[key].address
    external_address = local.machines[key].address
    ssh_address      = local.ssh_addresses[key]
    cpus             = host.cpus
    memory_mb        = host.memory_mb
    arch             = var.arch
    id               = module.topology.ids[key]
    rack             = aws_subnet.private[tostring(local.host_zone[key])].availability_zone
    volumes = [for service in sort(keys(local.services)) : {
      # The link that udev makes by the volume's own id, whatever number the device gets.
      device = "/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_${replace(aws_ebs_volume.data["${key}/${service}"].id, "-", "")}"
      path   = local.services[service].path
    } if contains(host.groups, service)]
  } }

  ssh_options = {
    ProxyCommand          = local.proxy_commands[var.access]
    StrictHostKeyChecking = "accept-new"
    ConnectTimeout        = local.connect_timeout
  }
  replication_factor = var.replication_factor
  facts = {
    output = local.output
    # Else S3A asks another region, which nothing leads to without a way out.
    s3_region = var.region
  }
  connect_timeout = local.connect_timeout

  depends_on = [terraform_data.known_host, aws_volume_attachment.data]
}

locals {
  # Seconds. Each connection starts AWS's command line and opens a session, and all hosts are connected to at once.
  connect_timeout = "120"

  output = "s3a://${aws_s3_bucket.output.bucket}"

  # What `make tunnel` puts on localhost: the first host of each group.
  uis = { spark_master = 8080, spark_worker = 8081, streaming = 4040 }
  urls = { for group, port in local.uis : group => {
    for key in slice(sort(module.topology.members[group]), 0, min(1, length(module.topology.members[group]))) :
    local.machines[key].name => "http://localhost:${port}"
  } }
}
