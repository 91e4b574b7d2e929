# frozen_string_literal: true

require "jobtide/guard"

# Queues that are tables: what is enqueued inside a transaction is told once that transaction is committed, and never if it is
# rolled back. Outside of one, at once.
module Jobtide
  module AfterCommit
    TOLD = Jobtide.site("after_commit")

    # What ActiveRecord before 7.2 asks of the records of a transaction.
    class Waiting
      def initialize(told)
        @told = told
      end

      def committed!(*)
        Jobtide.guard(TOLD) { @told.call }
      end

      def before_committed!(*); end
      def rolledback!(*); end
      def add_to_transaction(*); end

      def trigger_transactional_callbacks?
        true
      end
      alias has_transactional_callbacks? trigger_transactional_callbacks?

      def destroyed?
        false
      end
    end

    # `model`: whose connection the queue's rows are written through; nil where the queue is no table.
    def self.tell(model, &told)
      if !model&.connected? # no connection, so no transaction; and asking a class without one raises
        told.call
      elsif model.respond_to?(:current_transaction) # 7.2
        model.current_transaction.after_commit { Jobtide.guard(TOLD) { told.call } }
      elsif model.connection_pool.active_connection? && model.connection.transaction_open?
        model.connection.add_transaction_record(Waiting.new(told))
      else
        told.call
      end
    end
  end
end
