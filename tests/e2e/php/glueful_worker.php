<?php
// Stands for Glueful: its two interfaces, and its worker's way with a job.
declare(strict_types=1);

namespace Glueful\Queue\Contracts {
    interface JobInterface
    {
    }
    interface WorkerMonitorInterface
    {
        public function registerWorker(string $workerUuid, array $workerData): void;
        public function updateWorkerHeartbeat(string $workerUuid, array $data): void;
        public function unregisterWorker(string $workerUuid, array $finalStats = []): void;
        public function recordJobStart(JobInterface $job): void;
        public function recordJobSuccess(JobInterface $job, float $processingTime): void;
        public function recordJobFailure(JobInterface $job, \Exception $exception, float $processingTime): void;
        public function getActiveWorkers(): array;
        public function cleanupOldWorkers(int $daysOld = 7): bool;
        public function cleanupOldMetrics(int $daysOld = 30): bool;
        public function isEnabled(): bool;
    }
}

namespace {
    use Glueful\Queue\Contracts\JobInterface;

    final class Job implements JobInterface
    {
        private bool $released = false;

        public function __construct(private string $uuid, private int $attempts, private \Closure $body)
        {
        }

        public function getUuid(): string { return $this->uuid; }
        public function getQueue(): ?string { return 'emails'; }
        public function getName(): string { return 'App\Jobs\SendEmail'; }
        public function getAttempts(): int { return $this->attempts; }
        public function getMaxAttempts(): int { return 1; }
        public function getBatchUuid(): ?string { return 'batch-1'; }
        public function getPriority(): int { return 5; }
        public function getPushedAt(): int { return time() - 10; }
        public function getRawData(): array { return ['available_at' => gmdate('Y-m-d H:i:s', time() - ($this->attempts ? 2 : 10))]; }
        public function isReleased(): bool { return $this->released; }
        public function release(int $delay = 0): void { $this->released = true; }
        public function fire(): void { ($this->body)(); }
    }

    /** Glueful\Queue\QueueWorker::process. */
    function process(Jobtide\GluefulMonitor $monitor, Job $job): void
    {
        $monitor->recordJobStart($job);
        $start = microtime(true);
        try {
            $job->fire();
            $monitor->recordJobSuccess($job, microtime(true) - $start);
        } catch (Throwable $error) {
            $wrapped = $error instanceof Exception ? $error : new RuntimeException($error->getMessage(), 0, $error);
            if ($job->getAttempts() < $job->getMaxAttempts()) {
                $job->release(2);
            }
            $monitor->recordJobFailure($job, $wrapped, microtime(true) - $start);
        }
    }

    date_default_timezone_set('UTC');
    require $argv[1] . '/Jobtide.php';
    require $argv[1] . '/Glueful.php';

    $monitor = new Jobtide\GluefulMonitor(new Jobtide\Client((string) getenv('JOBTIDE_URL'), 'glueful'));
    $boom = function (): void { throw new TypeError('token=hunter2'); };
    $monitor->registerWorker('w-1', ['queues' => ['emails']]);
    foreach (['ok', 'second', 'dead'] as $uuid) {
        $monitor->pushed('emails', 'App\Jobs\SendEmail', $uuid);
    }
    $monitor->pushed('emails', 'App\Jobs\SendEmail', 'later', 60);
    process($monitor, new Job('ok', 0, function (): void { usleep(20_000); }));
    process($monitor, new Job('second', 0, $boom));
    process($monitor, new Job('second', 1, function (): void {}));
    $monitor->updateWorkerHeartbeat('w-1', []);
    process($monitor, new Job('dead', 0, $boom));
    process($monitor, new Job('dead', 1, $boom));
    $monitor->unregisterWorker('w-1');
}
