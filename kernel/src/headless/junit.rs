//! The result of a run as JUnit's XML, which continuous integration reads: a suite per notebook, a case per code cell,
//! and one more for what is said of the notebook as a whole.

use super::command::Outcome;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use std::time::Duration;

/// The XML.
///
/// # Errors
/// None that is known: the writer's.
pub(super) fn xml(outcomes: &[Outcome], time: Duration) -> anyhow::Result<Vec<u8>> {
    let mut report = Report::new("genailab-kernel");
    report.set_time(time);
    report.add_test_suites(outcomes.iter().map(suite));
    let mut xml = Vec::new();
    report.serialize(&mut xml)?;
    Ok(xml)
}

fn suite(outcome: &Outcome) -> TestSuite {
    let mut suite = TestSuite::new(outcome.name.as_str());
    let case = |name: String, status: TestCaseStatus| {
        let mut case = TestCase::new(name, status);
        case.set_classname(outcome.name.as_str());
        case
    };
    suite.set_time(outcome.execution.time());
    for step in &outcome.execution.cells {
        let status = match (step.failure(), &step.ran) {
            (Some(error), _) => {
                failure(NonSuccessKind::Failure, &error.name, &error.value, &error.traceback.join("\n"))
            }
            (None, None) => TestCaseStatus::skipped(),
            (None, Some(_)) => match outcome.differences.iter().find(|(number, _)| *number == step.number) {
                Some((_, why)) => failure(NonSuccessKind::Failure, "Output", why, why),
                None => TestCaseStatus::success(),
            },
        };
        let mut case = case(format!("cell {}: {}", step.number, step.title), status);
        if let Some(ran) = &step.ran {
            case.set_time(ran.time);
        }
        suite.add_test_case(case);
    }
    let whole = match (&outcome.execution.broken, outcome.rules.first()) {
        (Some(why), _) => failure(NonSuccessKind::Error, "Start", why, why),
        (None, Some(first)) => failure(NonSuccessKind::Failure, "Lint", first, &outcome.rules.join("\n")),
        (None, None) => TestCaseStatus::success(),
    };
    suite.add_test_case(case("notebook".to_owned(), whole));
    suite
}

fn failure(kind: NonSuccessKind, name: &str, message: &str, text: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(name).set_message(message).set_description(text);
    status
}
