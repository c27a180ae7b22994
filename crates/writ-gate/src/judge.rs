//! One control against one release: selection, fitness, rule, exemptions, mode, in this order.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use writ_model::{Check, Digest, EvidenceItem, EvidenceType, State};

use crate::applies::not_applicable;
use crate::bundle::Bundle;
use crate::control::{Control, Mode};
use crate::decide::Gate;
use crate::exempt::{self, Live};
use crate::findings::{Gathered, Lists, check_items};
use crate::inputs::Inputs;
use crate::message::{blank, default_code, evidence_ref, noun, way_out};
use crate::profile::Profile;
use crate::rule::{FindingsWanted, RuleInfo};
use crate::select::{Fitness, Limits, Selection, fitness, select};
use crate::verdict::Verdict;

/// What one control is judged with.
pub(crate) struct Case<'a> {
    pub bundle: &'a Bundle,
    pub control: &'a Control,
    pub profile: &'a Profile,
    pub inputs: &'a Inputs,
    pub findings: &'a Lists<'a>,
    pub run: Option<&'a EvidenceItem>,
    /// Digest of what an approver is shown, for controls that read approvals.
    pub shown: Option<Digest>,
}

/// A state that is clear before any rule speaks.
struct Early {
    state: State,
    title: String,
    found: Vec<String>,
    fix: Vec<String>,
}

/// Types whose evidence is a scan and must say what it looked at.
const fn is_scan(kind: EvidenceType) -> bool {
    use EvidenceType as T;
    matches!(
        kind,
        T::SecretScan | T::Sast | T::DependencyScan | T::IacScan | T::ContainerScan | T::Dast
    )
}

impl<'a> Case<'a> {
    /// The check, with mode applied.
    pub(crate) fn check(&self, gate: &mut Gate<'_>) -> Check {
        let mut check = self.judged(gate);
        if !matches!(
            check.state,
            State::Pass | State::Exempt | State::NotApplicable
        ) {
            check.or = Some(way_out(self.control, &check.items));
            if self.mode() == Mode::Warn {
                check.state = State::Warned;
            }
        }
        check
    }

    fn mode(&self) -> Mode {
        if self.inputs.strict {
            return Mode::Block;
        }
        let adjusted = self
            .profile
            .control
            .get(&self.control.id)
            .and_then(|a| a.mode);
        adjusted.unwrap_or(self.control.mode)
    }

    fn with(&self) -> Map<String, Value> {
        let adjusted = self.profile.control.get(&self.control.id);
        self.control
            .with
            .iter()
            .chain(adjusted.into_iter().flat_map(|a| &a.with))
            .map(|(name, value)| {
                (
                    name.clone(),
                    serde_json::to_value(value).unwrap_or(Value::Null),
                )
            })
            .collect()
    }

    fn judged(&self, gate: &mut Gate<'_>) -> Check {
        let control = self.control;
        let Some(rule) = self.bundle.rules.get(&control.rule) else {
            let title = format!("Cannot tell: rule {} is not in the bundle", control.rule);
            return blank(control, State::Error, title);
        };
        if let Some(reason) = not_applicable(control.applies, self.inputs, self.run) {
            let mut check = blank(
                control,
                State::NotApplicable,
                format!("Does not apply: {reason}"),
            );
            check.evidence.extend(self.run.map(evidence_ref));
            return check;
        }
        let exemptions = exempt::live(self.inputs, &self.profile.floor, control);
        let selected = self.select(rule);
        let mut early = self.before_the_rule(rule, &selected);
        let fit: BTreeMap<EvidenceType, Vec<&EvidenceItem>> = selected
            .iter()
            .map(|(kind, selection)| (*kind, self.fit(rule, *kind, &selection.counting)))
            .collect();
        let judged: Vec<&EvidenceItem> = fit.values().flatten().copied().collect();
        let mut check = match &early {
            // A scan that could be judged and fails is a fail, whatever happened to the others.
            Some(_) if rule.needs.findings.is_none() || judged.is_empty() => None,
            _ => Some(self.by_rule(gate, rule, &fit, &exemptions)),
        };
        if early.is_some() && check.as_ref().is_some_and(|c| c.state == State::Fail) {
            early = None;
        }
        if early.is_none() && check.as_ref().is_some_and(|c| c.state == State::Pass) {
            check = self
                .heard_against(gate, rule, &selected, &fit, &exemptions, |s| {
                    [s.against.as_slice(), s.rematched.as_slice()].concat()
                })
                .or(check);
        }
        if early.is_some() {
            // What runs was matched since: a flaw that this found is a fail, however old the scans are.
            let heard = self.heard_against(gate, rule, &selected, &fit, &exemptions, |s| {
                s.rematched.clone()
            });
            if heard.as_ref().is_some_and(|c| c.state == State::Fail) {
                (early, check) = (None, heard);
            }
        }
        let mut check = match (early, check) {
            (Some(early), _) => self.early_check(early, &selected),
            (None, Some(check)) => check,
            (None, None) => blank(
                control,
                State::Error,
                "Cannot tell: nothing was judged".to_owned(),
            ),
        };
        self.exempt_whole_check(&mut check, &exemptions);
        check
    }

    fn select(&self, rule: &RuleInfo) -> BTreeMap<EvidenceType, Selection<'_>> {
        let needs = &rule.needs;
        needs
            .evidence
            .iter()
            .chain(&needs.optional)
            .map(|kind| {
                let history = needs.history.contains(kind);
                (
                    *kind,
                    select(self.inputs, *kind, &self.profile.floor, history),
                )
            })
            .collect()
    }

    fn limits(&self, rule: &RuleInfo, kind: EvidenceType) -> Limits {
        let judges_vulnerabilities = matches!(
            kind,
            EvidenceType::DependencyScan | EvidenceType::ContainerScan
        );
        // Facts that stay true (a past deployment, an old emergency) do not age.
        let ages = rule.needs.evidence.contains(&kind)
            && !rule.needs.history.contains(&kind)
            && !rule.needs.aged_by_rule.contains(&kind);
        Limits {
            as_of: self.inputs.as_of,
            fresh: self.control.fresh.filter(|_| ages),
            database_age: self
                .profile
                .floor
                .database_age
                .filter(|_| judges_vulnerabilities),
            needs_denominator: is_scan(kind),
        }
    }

    fn fit<'e>(
        &self,
        rule: &RuleInfo,
        kind: EvidenceType,
        items: &[&'e EvidenceItem],
    ) -> Vec<&'e EvidenceItem> {
        let limits = self.limits(rule, kind);
        items
            .iter()
            .copied()
            .filter(|item| fitness(item, limits) == Fitness::Fit)
            .collect()
    }

    /// The state that the needed evidence itself decides: there is none, or it cannot be judged.
    fn before_the_rule(
        &self,
        rule: &RuleInfo,
        selected: &BTreeMap<EvidenceType, Selection<'_>>,
    ) -> Option<Early> {
        if rule.needs.run && self.run.is_none() {
            return Some(Early {
                state: State::Missing,
                title: "No run of this commit is recorded".to_owned(),
                found: vec![
                    "looked for a recorded run of this commit or tree; there is none that counts"
                        .to_owned(),
                ],
                fix: vec!["Run the pipeline: writ run".to_owned()],
            });
        }
        let mut worst: Option<Early> = None;
        for kind in &rule.needs.evidence {
            let Some(selection) = selected.get(kind) else {
                continue;
            };
            if selection.counting.is_empty() {
                return Some(self.absent(*kind, selection));
            }
            for item in &selection.counting {
                let judged = fitness(item, self.limits(rule, *kind));
                if judged == Fitness::Fit {
                    continue;
                }
                let unfit = self.unfit(*kind, judged);
                if worst.as_ref().is_none_or(|held| unfit.state < held.state) {
                    worst = Some(unfit);
                }
            }
        }
        if rule.needs.evidence.is_empty() && !rule.needs.optional.is_empty() && !rule.needs.run {
            let any = selected
                .iter()
                .any(|(kind, s)| !self.fit(rule, *kind, &s.counting).is_empty());
            if !any {
                return Some(Early {
                    state: State::Missing,
                    title: self.control.absent.clone(),
                    found: Vec::new(),
                    fix: self.absent_fix(),
                });
            }
        }
        worst
    }

    fn absent_fix(&self) -> Vec<String> {
        if self.control.absent_fix.is_empty() {
            self.control.fix.clone()
        } else {
            self.control.absent_fix.clone()
        }
    }

    fn absent(&self, kind: EvidenceType, selection: &Selection<'_>) -> Early {
        let noun = noun(kind);
        let mut fix = self.absent_fix();
        let (title, found) = if let Some(item) = selection.below_floor {
            (
                format!("No {noun} that counts for profile {}", self.profile.name),
                format!(
                    "the {noun} on record does not reach the floor of the profile: {}",
                    evidence_ref(item).summary
                ),
            )
        } else if selection.dirty.is_some() {
            fix.insert(0, "Commit the changes first: evidence from an uncommitted tree never counts for a commit".to_owned());
            (
                format!("The only {noun} is of a work tree with uncommitted changes"),
                format!("looked for a {noun} of this commit; found one of an uncommitted tree"),
            )
        } else {
            let title = if self.control.absent.is_empty() {
                format!("No {noun} is recorded")
            } else {
                self.control.absent.clone()
            };
            (
                title,
                format!("looked for evidence '{kind}' about this release; there is none"),
            )
        };
        Early {
            state: State::Missing,
            title,
            found: vec![found],
            fix,
        }
    }

    fn unfit(&self, kind: EvidenceType, unfit: Fitness) -> Early {
        let noun = noun(kind);
        let (state, title, first, reason) = match unfit {
            Fitness::NotRun(reason) => (
                State::Missing,
                format!("The {noun} did not run"),
                None,
                reason,
            ),
            Fitness::Expired(reason) => (
                State::Expired,
                format!("The {noun} is too old"),
                None,
                reason,
            ),
            Fitness::StaleData(reason) => (
                State::Expired,
                format!("The data behind the {noun} was too old"),
                Some("Let the tool get its current database, then run the stage again"),
                reason,
            ),
            Fitness::Error(reason) => (
                State::Error,
                format!("Cannot tell: the {noun} did not work"),
                Some(
                    "This is not a finding against the change: repair the tool and run the stage again",
                ),
                reason,
            ),
            Fitness::Empty(reason) => (
                State::Missing,
                format!("The {noun} looked at nothing"),
                None,
                reason,
            ),
            Fitness::Fit => (State::Error, "Cannot tell".to_owned(), None, String::new()),
        };
        // There was evidence once: how to begin to have it is no help, how to renew it is.
        let all = self.absent_fix();
        let renew: Vec<String> = all
            .iter()
            .filter(|line| line.contains(": writ "))
            .cloned()
            .collect();
        let fix = if renew.is_empty() { all } else { renew };
        Early {
            state,
            title,
            found: vec![reason],
            fix: first.map(str::to_owned).into_iter().chain(fix).collect(),
        }
    }

    fn early_check(&self, early: Early, selected: &BTreeMap<EvidenceType, Selection<'_>>) -> Check {
        let mut check = blank(self.control, early.state, early.title);
        check.found = early.found;
        check.fix = early.fix;
        check.evidence = selected
            .values()
            .flat_map(|selection| &selection.counting)
            .map(|item| evidence_ref(item))
            .collect();
        check
    }

    /// Evidence below the floors and matches of what runs never help, but one that fails is heard.
    fn heard_against<'e>(
        &self,
        gate: &mut Gate<'_>,
        rule: &RuleInfo,
        selected: &BTreeMap<EvidenceType, Selection<'e>>,
        fit: &BTreeMap<EvidenceType, Vec<&'e EvidenceItem>>,
        exemptions: &[Live],
        which: impl Fn(&Selection<'e>) -> Vec<&'e EvidenceItem>,
    ) -> Option<Check> {
        rule.needs.findings.as_ref()?;
        let mut all = fit.clone();
        let mut heard = false;
        for (kind, selection) in selected {
            let more = self.fit(rule, *kind, &which(selection));
            heard |= !more.is_empty();
            all.entry(*kind).or_default().extend(more);
        }
        if !heard {
            return None;
        }
        let check = self.by_rule(gate, rule, &all, exemptions);
        (check.state != State::Pass).then_some(check)
    }

    /// Asks the rule; exempted findings are taken away when it says no.
    fn by_rule(
        &self,
        gate: &mut Gate<'_>,
        rule: &RuleInfo,
        fit: &BTreeMap<EvidenceType, Vec<&EvidenceItem>>,
        exemptions: &[Live],
    ) -> Check {
        let with = self.with();
        let mut gathered = BTreeMap::new();
        if let Some(wanted) = &rule.needs.findings {
            match self.gather(fit, wanted, &with) {
                Ok(found) => gathered = found,
                Err(cause) => return self.cannot_tell(fit, cause),
            }
        }
        let verdict = match self.ask(gate, rule, fit, &with, &gathered, false) {
            Ok(verdict) => verdict,
            Err(cause) => return self.cannot_tell(fit, cause),
        };
        if verdict.state != State::Fail || gathered.is_empty() {
            return self.spoken(verdict, fit, &gathered);
        }
        let mut covered = vec![0_u64; exemptions.len()];
        for group in gathered.values_mut() {
            for (sum, count) in covered.iter_mut().zip(group.mark(exemptions)) {
                *sum += count;
            }
        }
        if covered.iter().all(|count| *count == 0) {
            return self.spoken(verdict, fit, &gathered);
        }
        let rest = match self.ask(gate, rule, fit, &with, &gathered, true) {
            Ok(rest) => rest,
            Err(cause) => return self.cannot_tell(fit, cause),
        };
        let exempt = rest.state == State::Pass;
        let mut check = self.spoken(if exempt { verdict } else { rest }, fit, &gathered);
        check.exemptions = exemptions
            .iter()
            .zip(&covered)
            .filter(|(_, count)| **count > 0)
            .map(|(live, count)| live.reference(*count))
            .collect();
        if exempt {
            check.state = State::Exempt;
            check.fix = Vec::new();
        }
        check
    }

    fn gather(
        &self,
        fit: &BTreeMap<EvidenceType, Vec<&EvidenceItem>>,
        wanted: &FindingsWanted,
        with: &Map<String, Value>,
    ) -> Result<BTreeMap<EvidenceType, Gathered<'a>>, String> {
        let mut gathered: BTreeMap<EvidenceType, Gathered<'a>> = BTreeMap::new();
        for (kind, items) in fit {
            let group = gathered.entry(*kind).or_default();
            for item in items {
                group.add(item, wanted, with, self.findings)?;
            }
        }
        Ok(gathered)
    }

    fn ask(
        &self,
        gate: &mut Gate<'_>,
        rule: &RuleInfo,
        fit: &BTreeMap<EvidenceType, Vec<&EvidenceItem>>,
        with: &Map<String, Value>,
        gathered: &BTreeMap<EvidenceType, Gathered<'_>>,
        open_only: bool,
    ) -> Result<Verdict, String> {
        let input = self.rule_input(rule, fit, with, gathered, open_only);
        Verdict::read(&rule.id, gate.evaluate(&rule.id, input)?)
    }

    fn spoken(
        &self,
        verdict: Verdict,
        fit: &BTreeMap<EvidenceType, Vec<&EvidenceItem>>,
        gathered: &BTreeMap<EvidenceType, Gathered<'_>>,
    ) -> Check {
        let control = self.control;
        let mut check = blank(control, verdict.state, verdict.title);
        let code = if verdict.code.is_empty() {
            default_code(verdict.state)
        } else {
            &verdict.code
        };
        check.code = format!("{}/{code}", control.id);
        check.found = verdict.found;
        if !verdict.required.is_empty() {
            check.required = verdict.required;
        }
        if verdict.state != State::Pass {
            let general = if verdict.state == State::Missing {
                self.absent_fix()
            } else {
                control.fix.clone()
            };
            let general = if verdict.fix_is_all {
                Vec::new()
            } else {
                general
            };
            check.fix = verdict.fix.into_iter().chain(general).collect();
            let (mut items, total) = match verdict.items {
                Some(items) => {
                    let total = items.len() as u64;
                    (items, verdict.items_total.unwrap_or(total))
                }
                None => check_items(gathered),
            };
            check.items_total = total;
            items.truncate(Check::MAX_ITEMS);
            check.items = items;
        }
        check.evidence = fit
            .values()
            .flatten()
            .map(|item| evidence_ref(item))
            .collect();
        check
    }

    fn cannot_tell(
        &self,
        fit: &BTreeMap<EvidenceType, Vec<&EvidenceItem>>,
        cause: String,
    ) -> Check {
        let mut check = blank(
            self.control,
            State::Error,
            "Cannot tell: the check could not be evaluated".to_owned(),
        );
        check.found = vec![cause];
        check.fix = vec![
            "This is not a finding against the change: tell the owner of the controls bundle"
                .to_owned(),
            "Test the control by itself: writ control test ".to_owned() + &self.control.id,
        ];
        check.evidence = fit
            .values()
            .flatten()
            .map(|item| evidence_ref(item))
            .collect();
        check
    }

    /// An exemption for the whole check covers whatever keeps it from passing.
    fn exempt_whole_check(&self, check: &mut Check, exemptions: &[Live]) {
        if matches!(check.state, State::Pass | State::Exempt | State::Waiting) {
            return;
        }
        let Some(live) = exemptions.iter().find(|live| live.covers_whole_check()) else {
            return;
        };
        check.state = State::Exempt;
        check.fix = Vec::new();
        check
            .exemptions
            .push(live.reference(check.items_total.max(1)));
        for item in check
            .items
            .iter_mut()
            .filter(|item| item.exempted_by.is_none())
        {
            item.exempted_by = Some(live.number.clone());
        }
    }
}
