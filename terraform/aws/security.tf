# Closed, but for the flows of the pipeline. A host has one security group, which stands for its set of groups of
# site.yml (AWS allows five a host, and `single` has six of ours); each flow is a rule from each set that has the
# flow's source to each that has its target, at both ends.

locals {
  # The table of flows and its ports, as Ansible has them; a port that the inventory of these hosts changes counts.
  knobs      = "${path.root}/../../inventories/pipeline/group_vars/all"
  own_folder = "${module.environment.folder}/group_vars"
  own_knobs = join("\n", [
    for file in concat(sort(fileset(local.own_folder, "all.yml")), sort(fileset(local.own_folder, "all/*.yml"))) : file("${local.own_folder}/${file}")
  ])
  given_ports = yamldecode(file("${local.knobs}/ports.yml"))
  ports = { for name, port in local.given_ports : name =>
    try(tonumber(regex("(?m)^${name}: *\"?([0-9]+)\"? *(?:#.*)?$", local.own_knobs)[0]), port)
  }
  # pipeline_security of the inventory of these hosts, or of all. Ports of a secured pipeline are open without it too, ahead of a
  # switch while it runs (ansible/switch_security.yml); nobody listens there until then.
  secured = tobool(try(
    regex("(?m)^pipeline_security: *(true|false)", local.own_knobs)[0],
    regex("(?m)^pipeline_security: *(true|false)", file("${local.knobs}/knobs.yml"))[0],
  ))
  # pipeline_monitoring likewise: which of the metrics' ports is in use.
  monitoring = tobool(try(
    regex("(?m)^pipeline_monitoring: *(true|false)", local.own_knobs)[0],
    regex("(?m)^pipeline_monitoring: *(true|false)", file("${local.knobs}/knobs.yml"))[0],
  ))
  flows = [for it in yamldecode(file("${local.knobs}/flows.yml")).pipeline_flows : {
    name     = it.for
    from     = it.from
    to       = it.to
    port     = it.port
    protocol = try(it.protocol, "tcp")
    ports    = local.ports[it.port] == 0 ? local.ports.pipeline_any_port : [local.ports[it.port], local.ports[it.port] + try(it.more, 0)]
  } if(local.ports[it.port] != 0 || try(it.any, false)) && (try(it.secured, true) || !local.secured) && try(it.monitored, local.monitoring) == local.monitoring]

  shapes    = { for key, host in var.hosts : key => length(host.groups) == 0 ? "bare" : join("+", sort(host.groups)) }
  shape_set = toset(values(local.shapes))
  shape_groups = { for shape in local.shape_set : shape =>
    shape == "bare" ? toset([]) : toset(split("+", shape))
  }

  # From hosts to hosts. What the operator's machine asks beside ssh goes through ssh.
  flow_pairs = flatten([for it in local.flows : [
    for from in local.shape_set : [
      for to in local.shape_set : { flow = it.name, from = from, to = to, ports = it.ports }
      if length(setintersection(local.shape_groups[to], it.to)) > 0
    ] if length(setintersection(local.shape_groups[from], it.from)) > 0
  ]])
  # Two flows may come to the same rule, which AWS takes once.
  flow_rules = { for rule, flows in {
    for pair in local.flow_pairs : "${pair.from} to ${pair.to} ${pair.ports[0]}-${pair.ports[1]}" => pair...
  } : rule => merge(flows[0], { flow = join(" and ", distinct(flows[*].flow)) }) }

  # Metrics, for ranges that the operator names.
  monitored = merge(flatten([for it in local.flows : [for to in local.shape_set : [for cidr in var.monitoring_cidrs : {
    "${cidr} to ${to} ${it.ports[0]}" = { to = to, cidr = cidr, ports = it.ports }
  }] if length(setintersection(local.shape_groups[to], it.to)) > 0] if contains(it.from, "monitoring")])...)

  # Beyond the pipeline: everywhere by the NAT gateway, else within the VPC and the networks that it is peered with.
  # AWS's own name servers need no rule.
  outside_ranges = var.egress == "nat" ? ["0.0.0.0/0"] : concat([local.subnet], var.peer_cidrs)
  outside_rules = merge(flatten([for it in local.flows : [for shape in local.shape_set : [for cidr in local.outside_ranges : {
    "${it.port} ${cidr} ${shape}" = { shape = shape, cidr = cidr, protocol = it.protocol, ports = it.ports, flow = it.name }
    }] if contains(it.from, "hosts") || length(setintersection(local.shape_groups[shape], it.from)) > 0]
  if contains(it.to, "outside") && it.port != "pipeline_dns_port"])...)
}

resource "aws_security_group" "host" {
  for_each = local.shape_set

  name        = "imdb ${var.name} ${each.value}"
  description = "Hosts of ${var.name} with ${each.value}"
  vpc_id      = aws_vpc.this.id
  tags        = { Name = "${var.name} ${each.value}" }

  lifecycle {
    # A host that changes its groups leaves one before it is removed.
    create_before_destroy = true
  }
}

resource "aws_vpc_security_group_ingress_rule" "flow" {
  for_each = local.flow_rules

  security_group_id            = aws_security_group.host[each.value.to].id
  referenced_security_group_id = aws_security_group.host[each.value.from].id
  ip_protocol                  = "tcp"
  from_port                    = each.value.ports[0]
  to_port                      = each.value.ports[1]
  description                  = "${each.value.flow} from ${each.value.from}"
  tags                         = { Name = "${var.name} ${each.value.flow}" }
}

resource "aws_vpc_security_group_egress_rule" "flow" {
  for_each = local.flow_rules

  security_group_id            = aws_security_group.host[each.value.from].id
  referenced_security_group_id = aws_security_group.host[each.value.to].id
  ip_protocol                  = "tcp"
  from_port                    = each.value.ports[0]
  to_port                      = each.value.ports[1]
  description                  = "${each.value.flow} to ${each.value.to}"
  tags                         = { Name = "${var.name} ${each.value.flow}" }
}

resource "aws_vpc_security_group_ingress_rule" "monitoring" {
  for_each = local.monitored

  security_group_id = aws_security_group.host[each.value.to].id
  cidr_ipv4         = each.value.cidr
  ip_protocol       = "tcp"
  from_port         = each.value.ports[0]
  to_port           = each.value.ports[1]
  description       = "metrics"
  tags              = { Name = "${var.name} metrics" }
}

resource "aws_vpc_security_group_egress_rule" "outside" {
  for_each = local.outside_rules

  security_group_id = aws_security_group.host[each.value.shape].id
  cidr_ipv4         = each.value.cidr
  ip_protocol       = each.value.protocol
  from_port         = each.value.ports[0]
  to_port           = each.value.ports[1]
  description       = each.value.flow
  tags              = { Name = "${var.name} ${each.value.flow}" }
}

# S3 by its gateway: its addresses are public ones, which no range above has when there is no NAT.
resource "aws_vpc_security_group_egress_rule" "s3" {
  for_each = var.egress == "endpoints" ? local.shape_set : toset([])

  security_group_id = aws_security_group.host[each.value].id
  prefix_list_id    = aws_vpc_endpoint.s3.prefix_list_id
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  description       = "s3"
  tags              = { Name = "${var.name} s3" }
}

resource "aws_security_group" "endpoints" {
  count = var.egress == "endpoints" && var.access == "ssm" ? 1 : 0

  name        = "imdb ${var.name} endpoints"
  description = "Endpoints of AWS services for ${var.name}"
  vpc_id      = aws_vpc.this.id
  tags        = { Name = "${var.name} endpoints" }
}

resource "aws_vpc_security_group_ingress_rule" "endpoints" {
  for_each = var.egress == "endpoints" && var.access == "ssm" ? local.shape_set : toset([])

  security_group_id            = aws_security_group.endpoints[0].id
  referenced_security_group_id = aws_security_group.host[each.value].id
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
  description                  = "https from ${each.value}"
  tags                         = { Name = "${var.name} endpoints" }
}
