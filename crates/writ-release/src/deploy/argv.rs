//! A site that a program looks after: it deploys, and another one brings the previous version back.

use super::plan::{Plan, Slot};
use super::programs::Programs;
use super::proxy::Health;
use super::site::{Restored, Site, SiteError, Standing};
use super::watch::Sample;

/// A program that deploys, and what it needs.
#[derive(Debug)]
pub struct ArgvSite {
    /// Deploys.
    pub start: Vec<String>,
    /// Brings the previous version back.
    pub rollback: Option<Vec<String>>,
    /// How the version is asked whether it is well.
    pub health: Option<Health>,
    /// What else is watched.
    pub alarm: Option<super::proxy::Alarm>,
    /// Where and how programs run.
    pub programs: Programs,
}

impl Site for ArgvSite {
    async fn standing(&self, _: Option<&str>) -> Result<Standing, SiteError> {
        Ok(Standing::default())
    }

    async fn start(&self, plan: &Plan) -> Result<(), SiteError> {
        self.programs.run(&self.start, plan, None).await
    }

    async fn healthy(&self, plan: &Plan) -> Result<(), SiteError> {
        match &self.health {
            Some(health) => health.ask(plan, None).await,
            None => Ok(()),
        }
    }

    async fn shift(&self, _: &Plan) -> Result<(), SiteError> {
        Ok(())
    }

    async fn sample(&self, _: &Plan) -> Result<Option<Sample>, SiteError> {
        Ok(None)
    }

    async fn alarm(&self) -> Result<Result<(), String>, SiteError> {
        match &self.alarm {
            Some(alarm) => alarm.ask().await,
            None => Ok(Ok(())),
        }
    }

    async fn switch(&self, _: &Plan) -> Result<(), SiteError> {
        Ok(())
    }

    async fn restore(&self, plan: &Plan) -> Result<Restored, SiteError> {
        let Some(rollback) = &self.rollback else {
            return Ok(Restored {
                serves: false,
                note: Some("there is no program that brings the previous version back".to_owned()),
            });
        };
        // Doing it again is for whoever looks into why it failed.
        Ok(match self.programs.run(rollback, plan, None).await {
            Ok(()) => Restored {
                serves: true,
                note: None,
            },
            Err(error) => Restored {
                serves: false,
                note: Some(error.to_string()),
            },
        })
    }

    async fn busy(&self, _: &Slot) -> Result<Option<u64>, SiteError> {
        Ok(Some(0))
    }

    async fn stop(&self, _: &Plan, _: &Slot) -> Result<(), SiteError> {
        Ok(())
    }
}
