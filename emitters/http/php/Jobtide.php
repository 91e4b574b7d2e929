<?php
// Tells jobtide what happens to jobs, from any PHP 8.1 program: copy this file, it needs nothing else.
//
// Never throws, and waits at most TIMEOUT_S for an answer: after one that did not come it is quiet for PAUSE_S. Events wait in
// memory, at most LIMIT of them, and each has an id and a time, so that sending one again is harmless.
declare(strict_types=1);

namespace Jobtide;

final class Client
{
    private const LIMIT = 1000;
    private const BATCH = 50;
    private const LINGER_S = 1.0;
    private const TIMEOUT_S = 2.0;
    private const PAUSE_S = 5.0;

    /** Events that found no room, and those the gateway refused. */
    public int $dropped = 0;

    /** @var list<string> events as JSON, the oldest first */
    private array $waiting = [];
    private float $since = 0.0;
    private float $quietUntil = 0.0;
    private bool $complained = false;

    /**
     * @param string $url      http://…/v1/events; empty: nothing is sent
     * @param string $system   names the kind of queue: a-z, 0-9 and _
     * @param bool   $messages whether messages of errors may leave; they may hold secrets, nothing here masks them
     */
    public function __construct(
        private readonly string $url,
        public readonly string $system,
        private readonly string $tenant = 'default',
        private readonly string $environment = 'default',
        private readonly ?string $token = null,
        private readonly bool $messages = false,
    ) {
        register_shutdown_function(fn () => $this->flush());
    }

    /** The name of this process as a worker. */
    public static function worker(): string
    {
        return gethostname() . ':' . getmypid();
    }

    /** @param array<string, mixed> $data members of the short form, as in emitters/http/README.md */
    public function emit(string $type, array $data): void
    {
        $this->safely(function () use ($type, $data): void {
            if ($this->url === '') {
                return;
            }
            $event = ['type' => $type] + $data + ['id' => bin2hex(random_bytes(16)), 'time' => self::time()]
                + ['system' => $this->system, 'tenant' => $this->tenant, 'environment' => $this->environment];
            $this->since = $this->waiting === [] ? microtime(true) : $this->since;
            $this->waiting[] = json_encode($event, JSON_THROW_ON_ERROR | JSON_INVALID_UTF8_SUBSTITUTE | JSON_UNESCAPED_SLASHES);
            if (count($this->waiting) > self::LIMIT) {
                array_shift($this->waiting);
                $this->dropped++;
            }
            if (count($this->waiting) >= self::BATCH || microtime(true) - $this->since >= self::LINGER_S) {
                $this->flush();
            }
        });
    }

    /**
     * Runs one attempt of a job and tells how it went; what the body throws is thrown on.
     *
     * @template T
     * @param callable(): T $body
     * @return T
     */
    public function run(string $queue, string $class, string $id, callable $body, int $attempt = 1): mixed
    {
        $job = ['queue' => $queue, 'job_class' => $class, 'job_id' => $id, 'attempt' => $attempt, 'worker_id' => self::worker()];
        $started = self::time();
        $began = hrtime(true);
        $this->emit('job.started', $job + ['time' => $started]);
        try {
            $result = $body();
        } catch (\Throwable $error) {
            $this->emit('job.failed', $job + ['started_at' => $started, 'duration_ms' => self::since($began), 'error' => $this->error($error)]);
            throw $error;
        }
        $this->emit('job.finished', $job + ['started_at' => $started, 'duration_ms' => self::since($began)]);

        return $result;
    }

    /** @return array{class: string, message?: string} */
    public function error(\Throwable $error): array
    {
        $facts = ['class' => substr(str_replace("\0", '@', $error::class), 0, 200)]; // anonymous classes have a NUL in their name
        if ($this->messages) {
            $facts['message'] = clipped($error->getMessage(), 4000);
        }

        return $facts;
    }

    /** Sends what waits. */
    public function flush(): void
    {
        $this->safely(function (): void {
            while ($this->waiting !== [] && microtime(true) >= $this->quietUntil) {
                $some = array_slice($this->waiting, 0, 500);
                $status = $this->post(implode("\n", $some) . "\n");
                if ($status === 0 || $status === 408 || $status === 429 || $status >= 500) {
                    $this->quietUntil = microtime(true) + self::PAUSE_S;

                    return;
                }
                $this->waiting = array_slice($this->waiting, count($some));
                if ($status !== 202) {
                    $this->dropped += count($some);
                    throw new \RuntimeException("the gateway answers {$status}");
                }
            }
        });
    }

    /** Runs something of a hook's: what it throws is logged, the first time, and goes no further. */
    public function safely(callable $hook): void
    {
        try {
            $hook();
        } catch (\Throwable $error) {
            if (!$this->complained) {
                error_log('jobtide: ' . $error->getMessage());
            }
            $this->complained = true;
        }
    }

    /** A time as events have it: now, or `$seconds` since the epoch. */
    public static function time(?float $seconds = null): string
    {
        $at = \DateTimeImmutable::createFromFormat('U.u', sprintf('%.6F', $seconds ?? microtime(true)));

        return $at === false ? gmdate('Y-m-d\TH:i:s\Z') : $at->format('Y-m-d\TH:i:s.u\Z');
    }

    /** Milliseconds since a `hrtime(true)`. */
    public static function since(int $began): float
    {
        return round((hrtime(true) - $began) / 1e6, 3);
    }

    /** The gateway's status; 0 when there is none. */
    private function post(string $body): int
    {
        $headers = ['Content-Type: application/x-ndjson', 'Connection: close'];
        if ($this->token !== null) {
            $headers[] = "Authorization: Bearer {$this->token}";
        }
        if (function_exists('gzencode')) {
            $headers[] = 'Content-Encoding: gzip';
            $body = (string) gzencode($body, 5);
        }
        $http = ['method' => 'POST', 'header' => $headers, 'content' => $body, 'timeout' => self::TIMEOUT_S, 'ignore_errors' => true, 'follow_location' => 0];
        $answer = @file_get_contents($this->url, false, stream_context_create(['http' => $http]));
        $status = explode(' ', $http_response_header[0] ?? '', 3)[1] ?? '0';

        return $answer === false ? 0 : (int) $status;
    }
}

/** At most `$limit` bytes of a text, without a torn character at the end. */
function clipped(string $text, int $limit): string
{
    return strlen($text) <= $limit ? $text : (string) preg_replace('/[\x80-\xBF]*[\xC0-\xFF]?$/', '', substr($text, 0, $limit));
}
