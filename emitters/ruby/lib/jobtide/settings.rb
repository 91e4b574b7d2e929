# frozen_string_literal: true

require "jobtide/errors"

# What the emitter is told: one frozen record from JOBTIDE_EMITTER_* and from `Jobtide.configure(...)`.
#
# Reads no file and opens nothing. Values come from the environment, arguments win over them. A wrong value raises
# ConfigError here; who asked decides what that means (`configure` lets it out, an implicit start turns the emitter off).
module Jobtide
  class Settings
    PREFIX = "JOBTIDE_EMITTER_"
    SECRETS = %i[token sasl_password].freeze
    SWITCH = { "1" => true, "true" => true, "yes" => true, "on" => true, "0" => false, "false" => false, "no" => false, "off" => false, "" => false }.freeze

    # name => [default, meaning]; the README's table is checked against it.
    KNOWN = {
      url: ["", "gateway to post to: http(s)://host:port/v1/events"],
      broker: ["", "Kafka bootstrap servers, host:port[,host:port]; used instead of `url`"],
      topic: ["job.events", "Kafka topic of events"],
      client: ["auto", "Kafka client: rdkafka (the gem), ffi (librdkafka through the ffi gem), or auto (the first that is installed)"],
      tenant: ["default", "tenant all events belong to: a-z, 0-9, _ and -, at most 63 characters"],
      environment: ["default", "environment: production, staging, …; at most 64 characters"],
      disabled: [false, "the off switch: hooks do nothing, no thread is started, nothing is sent"],
      off_file: ["", "while this file exists nothing is told: an off switch that needs no restart; looked for once a second"],
      source: ["", "who emits, for the completeness ledger; by default /host/pid"],
      release: ["", "what is deployed; a worker marks it once as deploy.marked"],
      token: ["", "bearer token for the gateway"],
      security_protocol: ["PLAINTEXT", "Kafka: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL"],
      sasl_mechanism: ["", "Kafka: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512"],
      sasl_username: ["", "Kafka user"],
      sasl_password: ["", "Kafka password"],
      tls_ca: ["", "file with the authorities that may sign the broker's or gateway's certificate"],
      queue_events: [20_000, "events kept in memory while nothing can be delivered; at least 100"],
      queue_bytes: [16 << 20, "bytes of them; at least 65536"],
      spool_dir: ["", "directory for events that cannot be delivered; without it only memory is used"],
      spool_bytes: [64 << 20, "bytes one process may keep there; at least 65536"],
      spool_first: [false, "with spool_dir: each event is on disk before its hook returns, so that a killed process loses none"],
      linger_ms: [50, "how long the first event of a pack waits for company"],
      flush_timeout_ms: [8_000, "longest wait when a process ends; near zero while delivery is known to fail"],
      request_timeout_ms: [5_000, "longest wait for one answer of broker or gateway, in the background thread"],
      heartbeat_ms: [10_000, "time between two heartbeats of a worker"],
      stats_ms: [10_000, "time between two emitter.stats of a process"],
      snapshot_ms: [10_000, "time between two queue.snapshot, from one worker of all"],
      error_detail: ["full", "what leaves of an error: class, message, or full (with backtrace)"],
      error_masking: ["strict", "what is masked in messages: strict (secrets, quoted values), secrets, or off"],
      args: ["", "job classes whose arguments may leave, masked: Class[,Class]; * is all"],
      args_mask: ["passw,pwd,secret,token,api_key,apikey,authorization,credential,cookie,card,cvv,iban,ssn", "names of arguments that are masked, as parts of the name"]
    }.freeze

    LEAST = {
      queue_events: 100, queue_bytes: 65_536, spool_bytes: 65_536, linger_ms: 0, flush_timeout_ms: 0,
      request_timeout_ms: 100, heartbeat_ms: 100, stats_ms: 100, snapshot_ms: 100
    }.freeze

    attr_reader(*KNOWN.keys)

    # The settings, and the JOBTIDE_EMITTER_* names that mean nothing.
    def self.load(environ, overrides = {})
      values = {}
      unknown = []
      environ.each do |variable, text|
        next unless variable.start_with?(PREFIX)

        name = variable.delete_prefix(PREFIX).downcase.to_sym
        KNOWN.key?(name) ? values[name] = parsed(variable, text, KNOWN[name][0]) : unknown << variable
      end
      [new(**values, **overrides), unknown.sort]
    end

    def self.parsed(variable, text, default)
      case default
      when Integer then Integer(text.strip, 10)
      when true, false then SWITCH.fetch(text.strip.downcase)
      else text.strip
      end
    rescue ArgumentError
      raise ConfigError, "#{variable}=#{text.inspect} is not a whole number"
    rescue KeyError
      raise ConfigError, "#{variable}=#{text.inspect} is not a switch: use 1 or 0"
    end
    private_class_method :parsed

    def initialize(**values)
      strange = values.keys - KNOWN.keys
      raise ConfigError, "no setting #{strange.first.inspect}; there are: #{KNOWN.keys.join(', ')}" unless strange.empty?

      KNOWN.each { |name, (default, _)| instance_variable_set(:"@#{name}", values.fetch(name, default)) }
      check
      freeze
    end

    # Whether anything is to be sent at all.
    def active?
      !disabled && !(url.empty? && broker.empty?)
    end

    # Where events go, for people: no secrets.
    def target
      broker.empty? ? url : "#{broker} #{topic}"
    end

    # Without secrets, so that a log or an exception page can print it.
    def inspect
      shown = KNOWN.keys.reject { |name| SECRETS.include?(name) }.map { |name| "#{name}=#{public_send(name).inspect}" }
      "#<Jobtide::Settings #{shown.join(' ')}>"
    end

    private

    def check
      need(tenant.match?(/\A[a-z0-9][a-z0-9_-]{0,62}\z/), :tenant, "use a-z, 0-9, _ and -, at most 63 characters")
      need(environment.match?(/\A[^[:cntrl:]]{1,64}\z/), :environment, "use 1 to 64 plain characters")
      need(url.empty? || url.start_with?("http://", "https://"), :url, "it begins with http:// or https://")
      need(url.empty? || broker.empty?, :broker, "set it or #{PREFIX}URL, not both")
      need(!topic.empty?, :topic, "name the Kafka topic")
      need(%w[auto rdkafka ffi].include?(client), :client, "use rdkafka, ffi or auto")
      need(%w[class message full].include?(error_detail), :error_detail, "use class, message or full")
      need(%w[strict secrets off].include?(error_masking), :error_masking, "use strict, secrets or off")
      protocols = %w[PLAINTEXT SSL SASL_PLAINTEXT SASL_SSL]
      need(protocols.include?(security_protocol), :security_protocol, "use #{protocols.join(', ')}")
      LEAST.each { |name, least| need(public_send(name).is_a?(Integer) && public_send(name) >= least, name, "at least #{least}") }
    end

    def need(good, name, fix)
      return if good

      shown = SECRETS.include?(name) ? "…" : public_send(name).inspect
      raise ConfigError, "#{PREFIX}#{name.to_s.upcase} is #{shown}: #{fix}"
    end
  end
end
