# frozen_string_literal: true

require "active_record"
require "jobtide"
require "jobtide/outbox/relay"

# Transactional outbox for Rails (ActiveRecord 6 to 8): the event commits with the business row, or neither does.
#
# In a transaction `outbox.job_enqueued(job)` writes the event into a table; a `Relay`, in any process or in several, emits what
# has been committed and deletes it once it is acknowledged or spooled. A crash in between emits it again: the same
# transition of the same attempt, which the stream counts once. The table is the one that the Python outbox makes.
module Jobtide
  class Outbox
    WRITE = Jobtide.site("outbox.write")
    NAME = "jobtide_outbox"

    # The rows, as a model on the app's connection.
    attr_reader :rows

    # `model`: whose database it is in.
    def initialize(model: ::ActiveRecord::Base, name: NAME)
      @rows = Class.new(model) do
        self.abstract_class = false
        self.table_name = name
        self.inheritance_column = nil
      end
    end

    # Makes the table: in a migration (`def change = Jobtide::Outbox.new.create(self)`), or at once.
    def create(schema = @rows.connection)
      schema.create_table(@rows.table_name) do |table|
        table.bigint :at_us, null: false
        table.string :kind, limit: 64, null: false
        table.text :partitionkey, null: false
        table.binary :data, null: false
      end
    end

    # The attempt waits for a worker from now on, if the transaction commits.
    def job_enqueued(job, run_at_us: nil)
      facts = run_at_us ? "#{job.facts},\"run_at\":\"#{Moments.text(run_at_us)}\"" : job.facts
      keep(run_at_us ? "job.scheduled.v1" : "job.enqueued.v1", job, facts)
    end

    # Somebody takes the attempt back, if the transaction commits.
    def job_cancelled(job, reason)
      keep("job.cancelled.v1", job, "#{job.facts},\"reason\":#{Bounds.quoted(Bounds.name(reason))}")
    end

    # Any event of the contract. Raises nothing, and spoils no transaction: a savepoint is around it, except on SQLite, where a
    # statement that fails spoils nothing.
    def write(kind, partitionkey, data)
      insert(kind, partitionkey) { JSON.generate(data) }
    end

    private

    def keep(kind, job, facts)
      insert(kind, nil, job) { "{#{facts}}" } if job.facts
    end

    def insert(kind, partitionkey, job = nil)
      return unless Jobtide.emitter.enabled

      Jobtide.guard(WRITE) do
        row = { at_us: Moments.now_us, kind: kind, partitionkey: partitionkey || JSON.parse(job.key), data: yield }
        if @rows.connection.adapter_name.match?(/sqlite/i)
          @rows.insert_all!([row])
        else
          @rows.transaction(requires_new: true) { @rows.insert_all!([row]) }
        end
      end
      nil
    end
  end
end
