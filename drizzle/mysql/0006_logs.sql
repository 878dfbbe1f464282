CREATE TABLE `logs` (
	`topic` varbinary(80) NOT NULL,
	`partitions` int unsigned NOT NULL,
	CONSTRAINT `logs_topic` PRIMARY KEY(`topic`)
);
