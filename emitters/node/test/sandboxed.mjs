// A processor in a file of its own: BullMQ runs it in another process or thread, where no hook of ours is needed.
export default async function process_(job) {
  if (job.data.dies) process.exit(9);
  if (job.data.fails) throw new RangeError("the job's own");
  await job.updateProgress(50);
  return job.name;
}
