# frozen_string_literal: true

require "active_record"
require "active_support/notifications"

# Solid Queue's documented lifecycle hooks, its notification of lost jobs, and its tables as its models name them.
module SolidQueue
  VERSION = "stand-in"
  Pool = Struct.new(:size)
  # A worker hands itself over to the hooks.
  Worker = Struct.new(:process_id, :queues, :pool)

  @start = []
  @stop = []

  class << self
    attr_reader :start, :stop

    def on_worker_start(&block) = @start << block
    def on_worker_stop(&block) = @stop << block

    def fail_many_claimed(job_ids, error)
      ActiveSupport::Notifications.instrument("fail_many_claimed.solid_queue", job_ids: job_ids, process_ids: [1], error: error)
    end
  end

  class Record < ActiveRecord::Base
    self.abstract_class = true
  end

  class Job < Record
    self.table_name = "solid_queue_jobs"
    serialize(:arguments, **(ActiveRecord.version < Gem::Version.new("7.1") ? {} : { coder: JSON })) if ActiveRecord.version >= Gem::Version.new("7.1")
    serialize(:arguments, JSON) if ActiveRecord.version < Gem::Version.new("7.1")
  end

  class Process < Record
    self.table_name = "solid_queue_processes"
  end

  class Pause < Record
    self.table_name = "solid_queue_pauses"
  end

  %w[ready scheduled claimed failed].each do |kind|
    const_set("#{kind.capitalize}Execution", Class.new(Record) do
      self.table_name = "solid_queue_#{kind}_executions"
      belongs_to :job, class_name: "SolidQueue::Job", optional: true
    end)
  end

  # As its migration makes them, without what the hooks do not read.
  def self.create_tables
    ActiveRecord::Schema.verbose = false
    ActiveRecord::Schema.define do
      create_table(:solid_queue_jobs) { |t| t.string(:queue_name); t.string(:class_name); t.string(:active_job_id); t.text(:arguments) }
      create_table(:solid_queue_processes) { |t| t.string(:kind) }
      create_table(:solid_queue_pauses) { |t| t.string(:queue_name) }
      create_table(:solid_queue_ready_executions) { |t| t.bigint(:job_id); t.string(:queue_name); t.datetime(:created_at, precision: 6) }
      %w[scheduled claimed failed].each { |kind| create_table(:"solid_queue_#{kind}_executions") { |t| t.bigint(:job_id) } }
    end
  end
end
