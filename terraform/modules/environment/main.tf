# What an environment is to every target: its folder, an identity that is stored, and the data that no run deletes unasked.
terraform {
  # plantimestamp() came with 1.5.
  required_version = ">= 1.6"
}

locals {
  # Relative, so that neither triggers nor what removes files later name a checkout that was moved or copied.
  folder   = "${var.inventories}/${var.name}"
  location = abspath(local.folder)
  record   = "${local.folder}/.identity"

  # Of the folder that last ran terraform: its id and where it lay.
  recorded    = try(jsondecode(file(local.record)), { id = "", folder = local.location })
  copied_from = try(local.recorded.folder != local.location && jsondecode(file("${local.recorded.folder}/.identity")).id == local.recorded.id, false) ? local.recorded.folder : ""

  allowed = compact([for word in split(",", replace(var.delete_data, " ", ",")) : trimspace(word)])
  # A plain `terraform apply` means the environment that is called like its target.
  own_state = terraform.workspace == var.name || (terraform.workspace == "default" && var.name == var.target)
  # What data there is, each by a file that terraform_data.data of the target writes.
  kept = { for file in fileset("${local.folder}/.data", "*") : file => try(jsondecode(file("${local.folder}/.data/${file}")), null) }
  # In another environment's state all of it would seem lost: that is said alone, without the word that lets data go.
  lost = { for name, it in local.kept : name => it
    if local.own_state && it != null && !contains(local.allowed, var.name) && !contains(local.allowed, try(it.host, "")) &&
    try(var.data[name].place, "") != try(it.place, "")
  }

  # What is noted and is not there, on this machine: else no plan would miss it, as all that tells of it is gone with it.
  gone = { for name, it in local.kept : name => it
    if it != null && !contains(local.allowed, var.name) && !contains(local.allowed, try(it.host, "")) &&
    try(var.data[name].place == it.place && !fileexists(var.data[name].file), false)
  }

  # A run that was killed may leave the state empty, which is taken for that of an environment without hosts.
  state   = "${local.folder}/terraform.tfstate"
  cut_off = try(trimspace(file(local.state)) == "" && trimspace(file("${local.state}.backup")) != "", false)

  problems = concat(
    var.wanted_target == null || var.wanted_target == var.target ? [] : [
      "The environment \"${var.name}\" is made by the target ${var.wanted_target}, and this is ${var.target}. Run: terraform -chdir=terraform/${var.wanted_target} ..., or take another name."
    ],
    contains(["pipeline", "example", "default"], var.name) ? [
      "name is \"${var.name}\", which is no environment's: inventories/pipeline holds what all environments share, inventories/example is an example, and default is Terraform's own workspace. Take another name."
    ] : [],
    local.own_state ? [] : [
      "name is \"${var.name}\" but the Terraform workspace is \"${terraform.workspace}\". Each environment has a state of its own; in another's, it would replace that one's hosts. Run: TF_WORKSPACE=${var.name} terraform apply ...${terraform.workspace == "default" ? "" : " If ${terraform.workspace} is meant, its input was left out: add -var-file=../../inventories/${terraform.workspace}/environment.tfvars."}"
    ],
    !local.cut_off ? [] : [
      "inventories/${var.name}/terraform.tfstate is empty: Terraform was killed, or the machine went off, while it was written. What there was before that run is in terraform.tfstate.backup beside it: copy that over it, then run this again, which goes on from there."
    ],
    local.copied_from == "" ? [] : [
      "inventories/${var.name} in ${dirname(dirname(local.location))} is a copy of ${local.copied_from}, or another path to it, and the hosts belong to that. Go on there, or make an environment of its own here (make env NAME=...). If this is the one to go on with, move the other away first."
    ],
    length(local.gone) == 0 ? [] : [join("\n", concat(
      ["The environment ${var.name} has data that is not there on this machine:"],
      [for name in sort(keys(local.gone)) : "  - ${local.gone[name].what}"],
      [
        "Does it lie on a disk of its own that is not mounted? Mount that, and run this again.",
        "Was its folder brought here from another machine? Its hosts are there: go on there, or make an environment of its own here (make env NAME=...).",
        "Is the data lost? make down NAME=${var.name} CONFIRM=${var.name} removes what is left, and make up NAME=${var.name} begins anew; docs/environments.md, \"What deletes data\", says how one host's disk is made anew.",
      ],
    ))],
    # Taken only where there is no identity yet: else it would be passed over without a word.
    (var.known_id == null ? true : var.known_id == terraform_data.identity.input) ? [] : [
      "The id ${var.known_id} is asked for (TF_VAR_id), and the environment ${var.name} has hosts of its own, with the id ${terraform_data.identity.input}. To take up those of ${var.known_id}, remove these first: make down NAME=${var.name}."
    ],
    length(local.lost) == 0 ? [] : [join("\n", concat(
      ["This would delete data of the environment ${var.name}, and nothing in this run says that it may go:"],
      [for name in sort(keys(local.lost)) : "  - ${local.lost[name].what}"],
      [
        "The hosts that are asked for are ${join(", ", sort(var.hosts))}. If these are not the environment's, its input was left out: add -var-file=../../inventories/${var.name}/environment.tfvars, or run make hosts NAME=${var.name}.",
        "If this data is to go: make hosts NAME=${var.name} DELETE_DATA=${join(",", distinct([for name in sort(keys(local.lost)) : local.lost[name].host]))}, or with terraform TF_VAR_delete_data=${join(",", distinct([for name in sort(keys(local.lost)) : local.lost[name].host]))} before it.",
      ],
    ))],
  )
}

# Made once, kept in the state, and never computed from where the checkout lies.
resource "terraform_data" "identity" {
  input = coalesce(var.known_id, substr(sha256("${plantimestamp()}|${local.location}"), 0, 8))

  lifecycle {
    ignore_changes = [input]
  }
}

# As the identity. The provider of a target reads it from the record, before it looks for anything.
resource "terraform_data" "home" {
  count = length(var.home) > 0 ? 1 : 0
  input = var.home

  lifecycle {
    ignore_changes = [input]
  }
}

locals {
  home = length(var.home) > 0 ? terraform_data.home[0].output : {}
}

# Whether the record is there: what was never written differs from any state. Apart from what writes it, which deletes it
# before it writes it anew, and would find another answer in the middle of that.
resource "terraform_data" "record_mark" {
  triggers_replace = try(local.recorded.mark, uuid())
}

# Where the folder lies, so that a copy is told from a folder that was moved. Written again when it was moved or lost.
resource "terraform_data" "record" {
  triggers_replace = concat(
    [terraform_data.identity.input, local.location, terraform_data.record_mark.triggers_replace],
    [for it in terraform_data.home : jsonencode(it.output)],
  )
  input = local.record

  provisioner "local-exec" {
    command = "mkdir -p \"$(dirname \"$FILE\")\" && printf '%s\\n' \"$CONTENT\" > \"$FILE\""
    environment = {
      FILE = self.input
      CONTENT = jsonencode(merge(
        { id = self.triggers_replace[0], folder = self.triggers_replace[1], mark = self.triggers_replace[2] },
        try({ home = jsondecode(self.triggers_replace[3]) }, {}),
      ))
    }
  }
  provisioner "local-exec" {
    when        = destroy
    command     = "rm -f \"$FILE\""
    environment = { FILE = self.input }
  }
}
