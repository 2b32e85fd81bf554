//! What ended the process of the cells, in words.

/// Variables that are named when they are lost.
const NAMED: usize = 8;

/// Reads evcxr's report (`Subprocess terminated with status: signal: 6 (SIGABRT) (core dumped)`) and the last lines of
/// standard error.
pub fn reason(report: &str, stderr: &[String]) -> String {
    let said = |words: &str| stderr.iter().any(|line| line.contains(words));
    let status = report.rsplit_once("terminated with status: ").map_or(report, |(_, status)| status).trim();
    if let Some(line) = stderr.iter().rev().find(|line| line.starts_with("memory allocation of ")) {
        return format!("the memory is used up: {line}");
    }
    // evcxr's handler reports a bad access, but has no stack left to run on when the stack is what is used up.
    if said("has overflowed its stack") || status.starts_with("signal: 11") && !said("Segmentation fault.") {
        return "a stack overflow, probably of a recursion without an end, ended the cell's process".to_owned();
    }
    if said("Segmentation fault.") {
        return "unsafe code read or wrote memory that is not its own (SIGSEGV)".to_owned();
    }
    if status.starts_with("signal: 6") {
        return "the cell's process was aborted (SIGABRT)".to_owned();
    }
    if status.starts_with("signal: 9") {
        return "the cell's process was killed from outside (SIGKILL); usually the system is out of memory".to_owned();
    }
    match status.strip_prefix("exit status: ") {
        Some(code) => format!("the cell's process ended by itself, with exit code {code}"),
        None => format!("the cell's process ended: {status}"),
    }
}

/// What is gone with the process: the variables, as pairs of name and type.
pub fn lost(variables: &[(String, String)]) -> Vec<String> {
    if variables.is_empty() {
        return vec!["no variable is lost".to_owned()];
    }
    let mut named: Vec<String> = variables.iter().take(NAMED).map(|(name, kind)| format!("{name} ({kind})")).collect();
    if variables.len() > NAMED {
        named.push(format!("and {} more", variables.len() - NAMED));
    }
    vec![
        format!("all variables are lost: {}", named.join(", ")),
        "functions, types and imports are kept; run the cells that define the variables again".to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(report: &str, stderr: &[&str], words: &str) {
        let stderr: Vec<String> = stderr.iter().map(|line| (*line).to_owned()).collect();
        let reason = reason(report, &stderr);
        assert!(reason.contains(words), "{reason}");
    }

    #[test]
    fn each_end_has_its_words() {
        let report = |status: &str| format!("Subprocess terminated with status: {status}");
        says(&report("signal: 6 (SIGABRT) (core dumped)"), &[], "aborted");
        says(&report("signal: 6 (SIGABRT)"), &["memory allocation of 99 bytes failed"], "memory is used up");
        says(&report("signal: 11 (SIGSEGV)"), &[], "stack overflow");
        says(&report("signal: 6 (SIGABRT)"), &["Segmentation fault."], "unsafe code");
        says(&report("signal: 9 (SIGKILL)"), &[], "out of memory");
        says(&report("exit status: 3"), &[], "exit code 3");
    }

    #[test]
    fn what_is_lost_is_named() {
        let variables: Vec<_> = (0..10).map(|n| (format!("v{n}"), "i32".to_owned())).collect();
        assert!(lost(&variables)[0].ends_with("v7 (i32), and 2 more"));
        assert_eq!(lost(&[]), ["no variable is lost"]);
    }
}
