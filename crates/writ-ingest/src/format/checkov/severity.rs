//! Severities of checkov's rules, our own judgement, because the offline report has none.
//!
//! The scale: CRITICAL hands over the system or its data to anybody, HIGH removes a barrier against that,
//! LOW is hygiene without a direct attack. Everything unlisted is MEDIUM, so an unknown rule is
//! neither ignored nor blocks by itself.

use writ_model::Severity;

/// Rules that are not MEDIUM, sorted by id.
const TABLE: &[(&str, Severity)] = &[
    ("CKV2_AWS_11", Severity::Low),      // VPC flow logs
    ("CKV2_AWS_41", Severity::Low),      // EC2 without a role
    ("CKV2_AWS_6", Severity::High),      // S3 public access block
    ("CKV2_AWS_62", Severity::Low),      // S3 event notifications
    ("CKV_AWS_1", Severity::Critical),   // IAM policy *:*
    ("CKV_AWS_107", Severity::High),     // IAM credentials exposure
    ("CKV_AWS_108", Severity::High),     // IAM data exfiltration
    ("CKV_AWS_109", Severity::High),     // IAM permissions management
    ("CKV_AWS_110", Severity::High),     // IAM privilege escalation
    ("CKV_AWS_111", Severity::High),     // IAM write without constraint
    ("CKV_AWS_126", Severity::Low),      // EC2 detailed monitoring
    ("CKV_AWS_130", Severity::Medium),   // subnet assigns public addresses
    ("CKV_AWS_135", Severity::Low),      // EC2 EBS optimised
    ("CKV_AWS_144", Severity::Low),      // S3 replication
    ("CKV_AWS_145", Severity::Low),      // S3 with customer key
    ("CKV_AWS_16", Severity::High),      // RDS encryption
    ("CKV_AWS_161", Severity::Low),      // RDS IAM authentication
    ("CKV_AWS_17", Severity::Critical),  // RDS publicly accessible
    ("CKV_AWS_18", Severity::Low),       // S3 access logging
    ("CKV_AWS_19", Severity::High),      // S3 encryption
    ("CKV_AWS_20", Severity::Critical),  // S3 readable by everybody
    ("CKV_AWS_21", Severity::Low),       // S3 versioning
    ("CKV_AWS_226", Severity::Low),      // RDS minor upgrades
    ("CKV_AWS_23", Severity::Low),       // security group descriptions
    ("CKV_AWS_24", Severity::Critical),  // SSH open to the world
    ("CKV_AWS_25", Severity::Critical),  // RDP open to the world
    ("CKV_AWS_260", Severity::High),     // port 80 open to the world
    ("CKV_AWS_277", Severity::Critical), // all ports open to the world
    ("CKV_AWS_293", Severity::Low),      // RDS deletion protection
    ("CKV_AWS_3", Severity::High),       // EBS encryption
    ("CKV_AWS_382", Severity::Low),      // egress to everywhere
    ("CKV_AWS_40", Severity::Low),       // IAM policies on users
    ("CKV_AWS_41", Severity::Critical),  // keys in the provider block
    ("CKV_AWS_46", Severity::Critical),  // secrets in EC2 user data
    ("CKV_AWS_53", Severity::High),      // S3 block public ACLs
    ("CKV_AWS_54", Severity::High),      // S3 block public policy
    ("CKV_AWS_55", Severity::High),      // S3 ignore public ACLs
    ("CKV_AWS_56", Severity::High),      // S3 restrict public buckets
    ("CKV_AWS_57", Severity::Critical),  // S3 writable by everybody
    ("CKV_AWS_61", Severity::High),      // role assumable by everybody
    ("CKV_AWS_62", Severity::Critical),  // IAM full administration
    ("CKV_AWS_63", Severity::High),      // IAM * actions
    ("CKV_AWS_70", Severity::Critical),  // S3 policy for any principal
    ("CKV_AWS_79", Severity::High),      // instance metadata version 1
    ("CKV_AWS_8", Severity::High),       // EBS of launch configurations
    ("CKV_AWS_88", Severity::Medium),    // EC2 public address
    ("CKV_DOCKER_1", Severity::High),    // SSH port exposed
    ("CKV_DOCKER_11", Severity::Low),    // FROM alias
    ("CKV_DOCKER_2", Severity::Low),     // HEALTHCHECK
    ("CKV_DOCKER_3", Severity::High),    // no user: runs as root
    ("CKV_DOCKER_4", Severity::Low),     // ADD
    ("CKV_DOCKER_5", Severity::Low),     // update alone
    ("CKV_DOCKER_6", Severity::Low),     // MAINTAINER
    ("CKV_DOCKER_8", Severity::High),    // last user is root
    ("CKV_DOCKER_9", Severity::Low),     // apt
    ("CKV_GHA_1", Severity::High),       // unsecure commands
    ("CKV_GHA_2", Severity::Critical),   // shell injection
    ("CKV_GHA_3", Severity::High),       // curl with secrets
    ("CKV_GHA_4", Severity::High),       // suspicious netcat
    ("CKV_K8S_1", Severity::High),       // host PID (policy)
    ("CKV_K8S_10", Severity::Low),       // CPU requests
    ("CKV_K8S_11", Severity::Low),       // CPU limits
    ("CKV_K8S_12", Severity::Low),       // memory requests
    ("CKV_K8S_13", Severity::Low),       // memory limits
    ("CKV_K8S_14", Severity::Medium),    // image tag
    ("CKV_K8S_15", Severity::Low),       // pull policy
    ("CKV_K8S_16", Severity::Critical),  // privileged
    ("CKV_K8S_17", Severity::High),      // host PID
    ("CKV_K8S_18", Severity::High),      // host IPC
    ("CKV_K8S_19", Severity::High),      // host network
    ("CKV_K8S_20", Severity::High),      // privilege escalation
    ("CKV_K8S_21", Severity::Low),       // default namespace
    ("CKV_K8S_22", Severity::Low),       // writable root
    ("CKV_K8S_23", Severity::High),      // root containers
    ("CKV_K8S_25", Severity::High),      // added capabilities
    ("CKV_K8S_26", Severity::Medium),    // host port
    ("CKV_K8S_27", Severity::Critical),  // Docker socket
    ("CKV_K8S_35", Severity::Low),       // secrets as environment
    ("CKV_K8S_38", Severity::Low),       // service account token
    ("CKV_K8S_39", Severity::Critical),  // CAP_SYS_ADMIN
    ("CKV_K8S_40", Severity::Low),       // high user id
    ("CKV_K8S_43", Severity::Low),       // image digest
    ("CKV_K8S_49", Severity::High),      // wildcard roles
    ("CKV_K8S_8", Severity::Low),        // liveness
    ("CKV_K8S_9", Severity::Low),        // readiness
];

/// Severity of a rule; found secrets are HIGH, what is not listed is MEDIUM.
pub fn of(rule: &str) -> Severity {
    if rule.starts_with("CKV_SECRET_") {
        return Severity::High;
    }
    TABLE
        .binary_search_by(|(id, _)| (*id).cmp(rule))
        .map_or(Severity::Medium, |at| TABLE[at].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_read() {
        assert!(TABLE.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!(of("CKV_AWS_20"), Severity::Critical);
        assert_eq!(of("CKV_NEW_1"), Severity::Medium);
        assert_eq!(of("CKV_SECRET_6"), Severity::High);
    }
}
