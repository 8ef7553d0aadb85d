//! The steps of a run in which its databases come into the store: the same whoever takes the rest of the point.

use dxdr_plan::{Step, backup::PointDatabases};
use jiff::Timestamp;

use super::{Databases, Dumped, InstanceLogs, export, log};
use crate::{
    active::ActiveRun,
    context::RunContext,
    error::RunError,
    snapshot::{from_evidence, to_evidence},
    witness::Witness,
};

/// The databases on their way, unless an earlier process of the run has dumped them.
#[derive(Debug)]
pub(crate) struct DatabaseSteps<'a> {
    of: PointDatabases<'a>,
    dump: Option<&'a Step>,
    export: Option<&'a Step>,
    databases: Databases<'a>,
    earlier: Option<Dumped>,
}

impl<'a> DatabaseSteps<'a> {
    /// Finds the way to what is still to be dumped.
    pub(crate) async fn open(
        context: &RunContext,
        of: PointDatabases<'a>,
        (dump, export): (Option<&'a Step>, Option<&'a Step>),
        run: &ActiveRun,
    ) -> Result<Self, RunError> {
        let earlier: Option<Dumped> = dump.and_then(|step| run.earlier(step)).as_ref().map(from_evidence).transpose()?;
        let databases = match &earlier {
            Some(_) => Databases::default(),
            None => Databases::open(context, of).await,
        };
        Ok(Self { of, dump, export, databases, earlier })
    }

    /// Those that are on their way.
    pub(crate) fn databases(&mut self) -> &mut Databases<'a> {
        &mut self.databases
    }

    /// Dumps what is held.
    pub(crate) async fn dump(&mut self, context: &RunContext, run: &mut ActiveRun) -> Result<Dumped, RunError> {
        let Some(step) = self.dump else { return Ok(Dumped::default()) };
        if let Some(earlier) = self.earlier.take() {
            return Ok(earlier);
        }
        run.start(step).await?;
        let dumped = std::mem::take(&mut self.databases).dump(context, self.of).await?;
        run.finish(step, &dumped.summary(), to_evidence(&dumped)?).await?;
        Ok(dumped)
    }

    /// Has the service export, and back up. `logged`: the instants of volumes and of objects from which those in logs follow, where they are known by now.
    pub(crate) async fn export(
        &self,
        context: &RunContext,
        run: &mut ActiveRun,
        witness: &Witness,
        logged: Option<(&[Timestamp], Timestamp)>,
    ) -> Result<Dumped, RunError> {
        let Some(step) = self.export else { return Ok(Dumped::default()) };
        if let Some(evidence) = run.earlier(step) {
            return from_evidence(&evidence);
        }
        run.start(step).await?;
        let logged = match logged {
            Some((volumes, objects)) => {
                log::logs(&InstanceLogs::of(context.instances.clone()), self.of.plans, volumes, objects).await
            }
            None => Dumped::default(),
        };
        logged.report_failures(context.reporter.as_ref());
        let exported = export::exports(context, self.of, witness).await?;
        let exported = exported.joined(export::backups(context, self.of, witness).await?).joined(logged);
        let exported = export::with_users(context, self.of, exported).await;
        run.finish(step, &exported.summary(), to_evidence(&exported)?).await?;
        Ok(exported)
    }
}
