output "problems" {
  description = "What is wrong with the hosts, a sentence each, naming the input, the reason and what to do. Empty: nothing."
  value       = local.problems
}

output "message" {
  description = "The problems as one text."
  value       = join("\n", local.problems)
}

output "numbers" {
  description = "A number in its subnet for each host, 10 to 249, by key."
  value       = local.numbers
}

output "ids" {
  description = "The id of each host in ZooKeeper and Kafka, by key."
  value       = local.ids
}

output "members" {
  description = "Keys of hosts by group."
  value       = local.members
}
