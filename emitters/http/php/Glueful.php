<?php
// Glueful's queue to jobtide: a worker monitor, which `php glueful queue:work` tells of its workers and jobs. In a service provider:
//
//   $client = new \Jobtide\Client((string) env('JOBTIDE_URL', ''), 'glueful', environment: (string) env('APP_ENV', 'default'));
//   … bind \Glueful\Queue\Contracts\WorkerMonitorInterface to new \Jobtide\GluefulMonitor($client)
//
// and, where jobs are pushed: $monitor->pushed('emails', SendEmail::class, $queue->push(SendEmail::class, $data, 'emails'));
//
// Glueful counts attempts from 0 while the first one runs. It tells no back-off: the next attempt's start says since when it might run.
declare(strict_types=1);

namespace Jobtide;

use Glueful\Queue\Contracts\JobInterface;
use Glueful\Queue\Contracts\WorkerMonitorInterface;

final class GluefulMonitor implements WorkerMonitorInterface
{
    private string $worker = '';
    private string $started = '';
    private ?string $running = null;

    public function __construct(private readonly Client $client)
    {
        $this->worker = Client::worker();
    }

    /** A job was pushed; `$delay` in seconds. Returns its id. */
    public function pushed(string $queue, string $class, string $uuid, int $delay = 0): string
    {
        $job = ['queue' => $queue, 'job_class' => $class, 'job_id' => $uuid];
        $delay > 0
            ? $this->client->emit('job.scheduled', $job + ['run_at' => Client::time(microtime(true) + $delay)])
            : $this->client->emit('job.enqueued', $job);

        return $uuid;
    }

    public function registerWorker(string $workerUuid, array $workerData): void
    {
        $this->worker = Client::worker() . ':' . $workerUuid;
    }

    /** Comes between two jobs only: told as a heartbeat, a long job would look as if its worker were gone. */
    public function updateWorkerHeartbeat(string $workerUuid, array $data): void
    {
        $this->client->flush();
    }

    public function unregisterWorker(string $workerUuid, array $finalStats = []): void
    {
        $this->client->flush();
    }

    public function recordJobStart(JobInterface $job): void
    {
        $this->client->safely(function () use ($job): void {
            $this->started = Client::time();
            $this->running = $job->getUuid();
            $this->client->emit('job.started', $this->job($job) + $this->since($job) + ['time' => $this->started]);
        });
    }

    public function recordJobSuccess(JobInterface $job, float $processingTime): void
    {
        $this->client->safely(fn () => $this->client->emit('job.finished', $this->job($job) + $this->ended($job, $processingTime)));
    }

    /** The worker has released the job for another attempt, or failed it for good, before it says this. */
    public function recordJobFailure(JobInterface $job, \Exception $exception, float $processingTime): void
    {
        $this->client->safely(function () use ($job, $exception, $processingTime): void {
            $error = ['error' => $this->client->error($exception->getPrevious() ?? $exception)];
            $this->client->emit('job.failed', $this->job($job) + $this->ended($job, $processingTime) + $error);
            $job->isReleased()
                ? $this->client->emit('job.retry_scheduled', $this->job($job) + $error + ['run_at' => Client::time()])
                : $this->client->emit('job.dead', $this->job($job) + $error);
        });
    }

    public function getActiveWorkers(): array
    {
        return [];
    }

    public function cleanupOldWorkers(int $daysOld = 7): bool
    {
        return true;
    }

    public function cleanupOldMetrics(int $daysOld = 30): bool
    {
        return true;
    }

    public function isEnabled(): bool
    {
        return true;
    }

    /** @return array<string, mixed> */
    private function job(JobInterface $job): array
    {
        return array_filter([
            'queue' => $job->getQueue() ?: 'default', 'job_class' => $job->getName(), 'job_id' => $job->getUuid(),
            'attempt' => $job->getAttempts() + 1, 'worker_id' => $this->worker, 'batch_id' => $job->getBatchUuid(), 'priority' => $job->getPriority() ?: null,
        ], fn ($value) => $value !== null);
    }

    /** @return array<string, string> since when the attempt waits, as far as the driver's row tells */
    private function since(JobInterface $job): array
    {
        $raw = $job->getRawData();
        $available = $raw['available_at'] ?? $raw['availableAt'] ?? null;
        $available = is_numeric($available) ? (float) $available : (is_string($available) ? (float) strtotime($available) : 0.0);
        $pushed = (float) $job->getPushedAt();
        $since = $job->getAttempts() === 0 ? ['enqueued_at' => Client::time($pushed)] : [];

        return $available > $pushed ? $since + ['run_at' => Client::time($available)] : $since;
    }

    /** @return array<string, mixed> */
    private function ended(JobInterface $job, float $seconds): array
    {
        $duration = ['duration_ms' => round($seconds * 1000, 3)];

        return $this->running === $job->getUuid() ? ['started_at' => $this->started] + $duration : $duration;
    }
}
