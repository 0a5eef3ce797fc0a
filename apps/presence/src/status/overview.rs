//! [`Overview`]: what all processes have said.

use std::collections::HashMap;

use serde::Serialize;

use super::ProcessAddress;
use super::costs::{self, Cost};
use super::page::Page;
use super::process::Process;

/// All processes that were asked, in that order.
#[derive(Debug, Serialize)]
pub(crate) struct Overview {
    pub(crate) processes: Vec<Asked>,
    /// Of all processes together; absent unless each of them has answered.
    pub(crate) costs: Option<Vec<Cost>>,
    /// Why there are no sums, if there are none.
    pub(crate) no_sums: Option<String>,
}

/// One that was asked.
#[derive(Debug, Serialize)]
pub(crate) struct Asked {
    pub(crate) address: ProcessAddress,
    #[serde(flatten)]
    pub(crate) answer: Answer,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Answer {
    Process(Box<Process>),
    /// What came of it instead.
    None {
        error: String,
    },
}

impl Overview {
    pub(super) fn of(answers: Vec<(ProcessAddress, Result<Page, String>)>) -> Self {
        let mut known: HashMap<String, ProcessAddress> = HashMap::new();
        let (mut processes, mut pages) = (Vec::new(), Vec::new());
        for (address, answer) in answers {
            let answer = answer.and_then(|page| match known.get(&page.instance) {
                // Its costs would be counted twice.
                Some(first) => Err(format!("it is the process that answers at {first} as well")),
                None => Ok(page),
            });
            let answer = match answer {
                Ok(page) => {
                    known.insert(page.instance.clone(), address.clone());
                    let process = Process::of(&page);
                    pages.push(page);
                    Answer::Process(Box::new(process))
                }
                Err(error) => Answer::None { error },
            };
            processes.push(Asked { address, answer });
        }
        let no_sums = match processes.len() - pages.len() {
            0 => None,
            missing => Some(format!(
                "{missing} of {} processes could not be looked at, and what they have cost is not guessed",
                processes.len()
            )),
        };
        let costs = no_sums.is_none().then(|| costs::sum(pages.iter().flat_map(|page| &page.costs)));
        Self { processes, costs, no_sums }
    }

    /// Did each of them answer?
    pub(crate) fn is_complete(&self) -> bool {
        self.no_sums.is_none()
    }

    pub(crate) fn answered(&self) -> impl Iterator<Item = (&ProcessAddress, &Process)> {
        self.processes.iter().filter_map(|asked| match &asked.answer {
            Answer::Process(process) => Some((&asked.address, &**process)),
            Answer::None { .. } => None,
        })
    }

    pub(super) fn missing(&self) -> impl Iterator<Item = (&ProcessAddress, &str)> {
        self.processes.iter().filter_map(|asked| match &asked.answer {
            Answer::Process(_) => None,
            Answer::None { error } => Some((&asked.address, &**error)),
        })
    }
}
