package config

// modesCount is false since Windows keeps access in ACLs and Go reports made-up
// mode bits; there the data directory and its ACL must be closed by its owner.
const modesCount = false
