# frozen_string_literal: true

require "logger"

# The promise that nothing in here reaches a job: everything that a backend or an app calls runs inside `guard`.
#
# An error inside is counted per site and logged once per site; the hook returns nil. Exceptions from outside (a job's
# time limit, Sidekiq::Shutdown, Thread#kill) are put off until the hook has returned, so that none is swallowed and
# none strikes between an event's number and its place in the ring.
module Jobtide
  # One place where a backend or an app calls into the emitter. `fault` is for tests: it is called first, inside.
  class Site
    attr_reader :name, :errors
    attr_accessor :fault

    def initialize(name)
      @name = name
      @errors = 0
      @fault = nil
    end

    def failed(error)
      @errors += 1
      return unless @errors == 1

      Jobtide.log.error("jobtide: #{@name} failed, the job is not affected: #{error.class}: #{error.message}")
    rescue StandardError # a log that is broken too, or an error that cannot be printed: the count stands
      @errors += 1
    end
  end

  # What a hook can raise by itself. Not here: SystemExit and SignalException, which belong to the process.
  MISTAKES = [StandardError, ScriptError, NoMemoryError, SystemStackError].freeze
  OUTSIDERS_WAIT = { Object => :never }.freeze
  private_constant :OUTSIDERS_WAIT

  @sites = {}

  class << self
    # Every call site by name: "sidekiq.started" and the like.
    attr_reader :sites

    # A new call site; its name is unique.
    def site(name)
      raise ArgumentError, "two call sites are named #{name}" if @sites.key?(name)

      @sites[name] = Site.new(name)
    end

    # Runs the block for a site; nil when it fails.
    def guard(site)
      Thread.handle_interrupt(OUTSIDERS_WAIT) do
        site.fault&.call
        yield
      rescue *MISTAKES => e
        site.failed(e)
        nil
      end
    end

    # Errors in all sites of this process since it started.
    def errors
      @sites.values.sum(&:errors)
    end

    # Where the emitter complains. An app may put its own logger here.
    attr_writer :log

    def log
      @log ||= Logger.new($stderr, level: Logger::WARN, progname: "jobtide")
    end
  end
end
