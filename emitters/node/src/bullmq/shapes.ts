// What is used of BullMQ, as types: no import, so that any version the app has installed is the one that is watched.

export interface BullJob {
  id?: string | undefined;
  name: string;
  data?: unknown;
  opts?: {
    attempts?: number;
    delay?: number;
    priority?: number;
    jobId?: string;
    deduplication?: unknown;
    debounce?: unknown;
    repeat?: unknown;
    telemetry?: { metadata?: string };
    removeOnComplete?: unknown;
  };
  timestamp: number;
  delay?: number;
  attemptsStarted?: number;
  attemptsMade: number;
  processedOn?: number;
  finishedOn?: number;
  processedBy?: string;
  parent?: { id?: string };
  parentKey?: string;
  repeatJobKey?: string;
  queueName?: string;
  getState?(): Promise<string>;
}

interface Emits {
  on(event: string, listener: (...args: never[]) => void): unknown;
}

interface Base extends Emits {
  name: string;
  opts?: { name?: string; prefix?: string; connection?: unknown };
  toKey(type: string): string;
  getBackend?(): unknown;
  client?: Promise<unknown>;
  Job: { fromId(queue: unknown, id: string): Promise<BullJob | undefined> };
  close(...args: unknown[]): Promise<unknown>;
}

export interface BullQueue extends Base {
  add(...args: unknown[]): Promise<BullJob>;
  addBulk(...args: unknown[]): Promise<BullJob[]>;
  upsertJobScheduler?(...args: unknown[]): Promise<BullJob | undefined>;
  remove?(jobId: string, ...more: unknown[]): Promise<number>;
}

type Process = (job: BullJob, token?: string, signal?: unknown) => Promise<unknown>;

export interface BullWorker extends Base {
  concurrency: number;
  callProcessJob?: Process;
  processFn?: Process;
  jobScheduler?: Promise<{ upsertJobScheduler(...args: unknown[]): Promise<BullJob | undefined> }>;
}

export interface FlowNode {
  job: BullJob;
  children?: FlowNode[];
}

export interface BullFlowProducer {
  add(...args: unknown[]): Promise<FlowNode>;
  addBulk(...args: unknown[]): Promise<FlowNode[]>;
}
