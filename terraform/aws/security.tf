# Closed, but for the flows of the pipeline. A host has one security group, which stands for its set of groups of
# site.yml (AWS allows five a host, and `single` has six of ours); each flow is a rule from each set that has the
# flow's source to each that has its target, at both ends.

locals {
  # As in inventories/pipeline/group_vars/all/ports.yml, but for kafka_external_port, which nothing here may reach.
  flows = {
    zookeeper          = { from = ["kafka", "spark_master"], to = "zookeeper", ports = [2181, 2181] }
    zookeeper-peer     = { from = ["zookeeper"], to = "zookeeper", ports = [2888, 2888] }
    zookeeper-election = { from = ["zookeeper"], to = "zookeeper", ports = [3888, 3888] }
    kafka              = { from = ["kafka", "streaming", "producer"], to = "kafka", ports = [9092, 9092] }
    spark-master       = { from = ["spark_worker", "streaming"], to = "spark_master", ports = [7077, 7077] }
    spark-worker       = { from = ["spark_master"], to = "spark_worker", ports = [7078, 7078] }
    # Spark takes the next port, up to sixteen further, when one is taken.
    blocks-of-workers = { from = ["spark_worker", "streaming"], to = "spark_worker", ports = [7080, 7096] }
    blocks-of-driver  = { from = ["spark_worker"], to = "streaming", ports = [7080, 7096] }
    # streaming_driver_port is 0, any free one: what Linux gives from (net.ipv4.ip_local_port_range).
    driver = { from = ["spark_master", "spark_worker"], to = "streaming", ports = [32768, 60999] }
    # A release that several hosts lack goes to one of them, and from there to the others.
    release-of-zookeeper = { from = ["zookeeper"], to = "zookeeper", ports = [7090, 7090] }
    release-of-kafka     = { from = ["kafka"], to = "kafka", ports = [7090, 7090] }
    release-by-masters   = { from = ["spark_master", "spark_worker", "streaming"], to = "spark_master", ports = [7090, 7090] }
    release-by-workers   = { from = ["spark_master", "spark_worker", "streaming"], to = "spark_worker", ports = [7090, 7090] }
    release-by-driver    = { from = ["spark_master", "spark_worker", "streaming"], to = "streaming", ports = [7090, 7090] }
    release-of-producer  = { from = ["producer"], to = "producer", ports = [7090, 7090] }
    # For the looks before and after a restart, which one master takes at all of them.
    master-ui = { from = ["spark_master"], to = "spark_master", ports = [8080, 8080] }
    # For `make tunnel`, which comes in through a master; its own UI, 8080, is at hand there.
    worker-ui    = { from = ["spark_master"], to = "spark_worker", ports = [8081, 8081] }
    streaming-ui = { from = ["spark_master"], to = "streaming", ports = [4040, 4040] }
  }

  shapes    = { for key, host in var.hosts : key => length(host.groups) == 0 ? "bare" : join("+", sort(host.groups)) }
  shape_set = toset(values(local.shapes))
  shape_groups = { for shape in local.shape_set : shape =>
    shape == "bare" ? toset([]) : toset(split("+", shape))
  }

  flow_pairs = flatten([for flow, it in local.flows : [
    for from in local.shape_set : [
      for to in local.shape_set : { flow = flow, from = from, to = to, ports = it.ports }
      if contains(local.shape_groups[to], it.to)
    ] if length(setintersection(local.shape_groups[from], it.from)) > 0
  ]])
  # Two flows may come to the same rule, which AWS takes once.
  flow_rules = { for rule, flows in {
    for pair in local.flow_pairs : "${pair.from} to ${pair.to} ${pair.ports[0]}-${pair.ports[1]}" => pair...
  } : rule => merge(flows[0], { flow = join(" and ", flows[*].flow) }) }

  # To the outside: Debian's archive and AWS by http(s), and time. AWS's own name and time servers need no rule.
  outside = var.egress == "nat" ? {
    http  = { protocol = "tcp", port = 80, cidr = "0.0.0.0/0" }
    https = { protocol = "tcp", port = 443, cidr = "0.0.0.0/0" }
    ntp   = { protocol = "udp", port = 123, cidr = "0.0.0.0/0" }
    } : {
    http  = { protocol = "tcp", port = 80, cidr = local.subnet }
    https = { protocol = "tcp", port = 443, cidr = local.subnet }
  }
  outside_peers = var.egress == "nat" ? {} : merge([for cidr in var.peer_cidrs : {
    "http ${cidr}"  = { protocol = "tcp", port = 80, cidr = cidr }
    "https ${cidr}" = { protocol = "tcp", port = 443, cidr = cidr }
  }]...)
  outside_rules = merge([for shape in local.shape_set : {
    for rule, it in merge(local.outside, local.outside_peers) : "${rule} ${shape}" => merge(it, { shape = shape, rule = rule })
  }]...)
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

resource "aws_vpc_security_group_egress_rule" "outside" {
  for_each = local.outside_rules

  security_group_id = aws_security_group.host[each.value.shape].id
  cidr_ipv4         = each.value.cidr
  ip_protocol       = each.value.protocol
  from_port         = each.value.port
  to_port           = each.value.port
  description       = split(" ", each.value.rule)[0]
  tags              = { Name = "${var.name} ${split(" ", each.value.rule)[0]}" }
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
