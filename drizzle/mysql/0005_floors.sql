CREATE TABLE `erased` (
	`source` varbinary(64) NOT NULL,
	`shard` smallint unsigned NOT NULL,
	`n` bigint NOT NULL,
	`metric` tinyint unsigned NOT NULL,
	`count` bigint NOT NULL,
	`at_ms` bigint NOT NULL,
	CONSTRAINT `erased_source_shard_n_metric_pk` PRIMARY KEY(`source`,`shard`,`n`,`metric`)
);
--> statement-breakpoint
CREATE TABLE `floors` (
	`actor` binary(16) NOT NULL,
	`shard` smallint unsigned NOT NULL,
	`stamp` bigint NOT NULL,
	CONSTRAINT `floors_actor_shard_pk` PRIMARY KEY(`actor`,`shard`)
);
--> statement-breakpoint
CREATE INDEX `erased_by_time` ON `erased` (`at_ms`);--> statement-breakpoint
CREATE INDEX `floors_by_stamp` ON `floors` (`stamp`);